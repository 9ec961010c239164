/*
 * Parity with the old Python session managers: what the files parity_*.c
 * share. Each file is one manager; each test is one of its public methods by
 * its old name, MANAGER__METHOD or MANAGER__METHOD__what_else: what its callers
 * relied on, without its bugs, and which store served. parity.c has the list of
 * all methods and makes sure that none is forgotten.
 *
 * The words are the old ones in names of tests alone: a platform is a context,
 * an inactive user one that is blocked.
 */
#ifndef TESTS_PARITY_H
#define TESTS_PARITY_H

#include "tap.h"

#include "world.h"

#define PARITY_TESTS(T)                                                        \
	/* SessionManagerV2: parity_v2.c */                                    \
	T(session_manager_v2__create_session)                                  \
	T(session_manager_v2__create_session__of_inactive_user)                \
	T(session_manager_v2__get_session_data)                                \
	T(session_manager_v2__get_session_data__writes_nothing_back)           \
	T(session_manager_v2__update_session)                                  \
	T(session_manager_v2__update_session__of_two_at_once)                  \
	T(session_manager_v2__update_session__resurrects_nothing)              \
	T(session_manager_v2__destroy_session)                                 \
	T(session_manager_v2__destroy_session__when_redis_is_set_back)         \
	T(session_manager_v2__switch_platform)                                 \
	T(session_manager_v2__cleanup_user_sessions)                           \
	T(session_manager_v2__get_user_sessions)                               \
	T(session_manager_v2__validate_session)                                \
	T(session_manager_v2__extend_session)                                  \
	T(session_manager_v2__get_session_stats)                               \
	T(session_manager_v2__get_db_session)                                  \
	/* UnifiedSessionManager: parity_unified.c */                          \
	T(unified_session_manager__get_db_session)                             \
	T(unified_session_manager__create_session)                             \
	T(unified_session_manager__get_session_context)                        \
	T(unified_session_manager__get_session_context__in_an_outage)          \
	T(unified_session_manager__get_session_context__slides_in_all_stores)  \
	T(unified_session_manager__validate_session)                           \
	T(unified_session_manager__update_session_activity)                    \
	T(unified_session_manager__update_platform_context)                    \
	T(unified_session_manager__destroy_session)                            \
	T(unified_session_manager__cleanup_expired_sessions)                   \
	T(unified_session_manager__cleanup_user_sessions)                      \
	/* FlaskRedisSessionInterface: parity_flask.c */                       \
	T(flask_redis_session_interface__open_session)                         \
	T(flask_redis_session_interface__open_session__of_unknown_id)          \
	T(flask_redis_session_interface__open_session__of_web_socket)          \
	T(flask_redis_session_interface__open_session__in_an_outage)           \
	T(flask_redis_session_interface__save_session)                         \
	T(flask_redis_session_interface__save_session__of_two_at_once)         \
	T(flask_redis_session_interface__save_session__at_login)               \
	T(flask_redis_session_interface__get_session_data)                     \
	T(flask_redis_session_interface__delete_session)                       \
	T(flask_redis_session_interface__cleanup_expired_sessions)             \
	T(flask_redis_session_interface__get_user_sessions)                    \
	T(flask_redis_session_interface__cleanup_user_sessions)                \
	/* RedisSessionBackend: parity_backend.c */                            \
	T(redis_session_backend__from_env)                                     \
	T(redis_session_backend__get)                                          \
	T(redis_session_backend__get__of_damaged_record)                       \
	T(redis_session_backend__set)                                          \
	T(redis_session_backend__delete)                                       \
	T(redis_session_backend__exists)                                       \
	T(redis_session_backend__update_ttl)                                   \
	T(redis_session_backend__get_ttl)                                      \
	T(redis_session_backend__get_sessions_by_user)                         \
	T(redis_session_backend__cleanup_user_sessions)                        \
	T(redis_session_backend__get_session_count)                            \
	T(redis_session_backend__health_check)                                 \
	/* RequestScopedSessionManager: parity_request.c */                    \
	T(request_scoped_session_manager__get_request_session)                 \
	T(request_scoped_session_manager__close_request_session)               \
	T(request_scoped_session_manager__session_scope)                       \
	T(request_scoped_session_manager__is_session_active)                   \
	/* SessionManager: parity_consolidated.c */                            \
	T(session_manager__get_db_session)                                     \
	T(session_manager__create_session)                                     \
	T(session_manager__create_session__reconnects)                         \
	T(session_manager__get_session)                                        \
	T(session_manager__cleanup_user_sessions)                              \
	/* MaintenanceSessionManager: parity_maintenance.c */                  \
	T(maintenance_session_manager__invalidate_non_admin_sessions)          \
	T(maintenance_session_manager__prevent_non_admin_login)                \
	T(maintenance_session_manager__allow_non_admin_login)                  \
	T(maintenance_session_manager__is_login_prevented_for_user)            \
	T(maintenance_session_manager__get_session_stats)                      \
	T(maintenance_session_manager__cleanup_maintenance_state)

/* What is not in the list does not compile, and what is missing neither. */
#define PARITY_DECLARE(name) void name(void **state);
PARITY_TESTS(PARITY_DECLARE)

/* A world of its own for each test. */
extern struct world parity;

/* ---- who served the last call of parity.mgr ---- */

/* SQLite or MySQL: changes, lists, counts, and what Redis does not have. */
void served_by_durable(void);
/* Redis, in a world that has one. */
void served_by_cache(void);
/* No store was asked. */
void served_by_none(void);

/* ---- calls that must succeed ---- */

void parity_update(const struct sgate_ref *ref, const char *patch);
void parity_end(const struct sgate_ref *ref, enum sgate_reason reason);
/* How many were ended. */
uint64_t parity_cleanup(const char *user, const struct sgate_ref *except);
struct sgate_list *parity_list(const char *user);
size_t parity_count(const char *user);
void parity_stats(struct sgate_stats *out);
/* The number of seconds that a session would live without activity. */
int64_t parity_ttl(const struct sgate_session *session);

/*
 * look(arg) with Redis in every state that it can be in: holding the session,
 * after FLUSHALL, not answering, and back again; and the store that should have
 * served did so. What look() sees must be in Redis at the beginning.
 */
void parity_in_each_state(void (*look)(void *arg), void *arg);
/*
 * The same for a look by token, which must be answered as expected. look() (may
 * be NULL) sees the session.
 */
typedef void parity_look_fn(const struct sgate_session *session);
void parity_everywhere(
    const struct made *made, enum sgate_reason expected, parity_look_fn *look);

/* Another manager of this host that finds no durable store. */
struct sgate_manager *parity_without_durable(void);

/* Three sessions of user "1", one of "2"; free them with parity_leave(). */
struct parity_crowd {
	struct made own[3], other;
};
void parity_gather(struct parity_crowd *crowd);
void parity_leave(struct parity_crowd *crowd);

#endif
