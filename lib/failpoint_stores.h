/*
 * Failpoints around every call of a store and of the spool's files, without a
 * line at the places that make them: the table of a driver is handed on with
 * each of its functions between two places, "durable-commit" and
 * "durable-commit-done" (cache-get, spool-write, ...). The one before fails as
 * if the connection had gone: nothing was sent. The one behind fails as if the
 * answer had not come: it was done, and nobody knows. Without
 * `configure --enable-failpoints` the tables are what they are.
 */
#ifndef SESSGATE_FAILPOINT_STORES_H
#define SESSGATE_FAILPOINT_STORES_H

#ifdef SESSGATE_FAILPOINTS
struct durable_ops;
struct cache_ops;
struct spool_io;

/* One driver of each kind in a process. */
const struct durable_ops *failpoint_durable(const struct durable_ops *ops);
const struct cache_ops *failpoint_cache(const struct cache_ops *ops);
const struct spool_io *failpoint_spool(const struct spool_io *io);
#else
#define failpoint_durable(ops) (ops)
#define failpoint_cache(ops) (ops)
#define failpoint_spool(io) (io)
#endif

#endif
