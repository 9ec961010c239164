/* GET admin/, the operator's page: who is let in. */
#ifndef SESSGATE_API_ADMIN_H
#define SESSGATE_API_ADMIN_H

#include "api.h"

/* False: it is another path and not below it, and nothing has been done. Else
 * c->reply has the answer. */
SGATE_MUST_CHECK bool api_admin_serve(struct call *c, struct sgate_bytes path);

#endif
