/*
 * What a visitor knows a device by: "Firefox on Windows". From the user agent,
 * which a browser, or who pretends to be one, may fill with anything: only the
 * words of two short tables come out, or the beginning of what is not known.
 */
#ifndef SESSGATE_AGENT_H
#define SESSGATE_AGENT_H

#include "buf.h"

/* As plain text: what is written still has to be escaped for a page. */
void agent_describe(struct sgate_bytes agent, struct buf *out);

#endif
