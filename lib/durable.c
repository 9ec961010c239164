/* The registry of durable stores: one line a driver. */
#include "config.h"

#include "durable.h"

#include "failpoint_stores.h"

const struct durable_ops *const durable_stores[] = {
    &durable_mysql,
    &durable_sqlite,
    NULL,
};

const struct durable_ops *
durable_choose(const struct sgate_conf *conf)
{
	/* SQLite needs no server, so it is what an empty configuration means.*/
	return failpoint_durable(
	    conf_has_mysql(conf) ? &durable_mysql : &durable_sqlite);
}
