/*
 * What comes on the tracker's two connections, from bytes (cache_redis_push.c):
 * apart from the connections, so that tests can feed what no Redis says.
 */
#ifndef SESSGATE_CACHE_REDIS_PUSH_H
#define SESSGATE_CACHE_REDIS_PUSH_H

#include "tracking.h"

/* Either is given up after it has said what is wrong: NULL is all right. */

struct push;
/* Of messages. prefix: of all keys, borrowed like the hooks, of which it calls
 * changed() and changed_all(). NULL: memory is out. */
struct push *push_new(const char *prefix, const struct tracking_hooks *hooks);
void push_free(struct push *p);
const char *push_feed(struct push *p, const char *bytes, size_t len);
/* The number of the PONG that has come since the last time; 0: none has. */
uint64_t push_take_pong(struct push *p);
/* Whether Redis has confirmed that it will send messages. */
bool push_is_subscribed(const struct push *p);

struct heads;
/* Of the answers to GETRANGE key 0 29. */
struct heads *heads_new(
    void (*take)(void *arg, const struct tracking_head *head), void *arg);
void heads_free(struct heads *h);
const char *heads_feed(struct heads *h, const char *bytes, size_t len);

#endif
