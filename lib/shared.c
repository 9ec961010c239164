/*
 * The shared memory's file, and the touches that wait in it for the keeper.
 *
 * A bucket is locked for the copying of a few words only. Its mutex is robust:
 * when the owner was killed inside, the next one finds EOWNERDEAD, forgets what
 * the bucket held and goes on (a lost touch is written by the next request of
 * that session). When the owner is stopped and not dead, the others wait
 * LOCK_WAIT_MS and then do without.
 *
 * A robust mutex holds pointers of glibc's own, so the master, which may be
 * root, never locks one: workers and keeper, which are one user, do.
 */
#include "config.h"

#include "shared.h"

#include "clock.h"
#include "status.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SHARED_MAGIC "sessgate"
#define SHARED_VERSION 7
#define LOCK_WAIT_MS 20

/* ---- the file ---- */

static int
init_mutexes(struct shared *shared)
{
	pthread_mutexattr_t attr;
	size_t i;
	int rc;

	rc = pthread_mutexattr_init(&attr);
	if (rc != 0)
		return rc;
	rc = pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	if (rc == 0)
		rc = pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	for (i = 0; rc == 0 && i < SHARED_TOUCH_BUCKETS; i++)
		rc = pthread_mutex_init(&shared->touches[i].mutex, &attr);
	pthread_mutexattr_destroy(&attr);
	return rc;
}

static bool
file_path(const char *runtime_dir, char *out, size_t out_size)
{
	int len = snprintf(out, out_size, "%s/shared", runtime_dir);

	return len > 0 && (size_t)len < out_size;
}

enum sgate_status
shared_create(const char *runtime_dir, struct shared **out_shared,
    struct sgate_error *err)
{
	struct shared *shared = MAP_FAILED;
	char path[4096];
	int fd = -1, rc;

	*out_shared = NULL;
	error_clear(err);
	if (!file_path(runtime_dir, path, sizeof(path)))
		return error_set(err, SGATE_INVALID, "shared", "create",
		    ENAMETOOLONG, "%s: too long", runtime_dir);
	if (unlink(path) != 0 && errno != ENOENT)
		return error_set(err, SGATE_INTERNAL, "shared", "unlink", errno,
		    "%s: %s", path, strerror(errno));
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
	    S_IRUSR | S_IWUSR);
	if (fd < 0)
		return error_set(err, SGATE_INTERNAL, "shared", "open", errno,
		    "%s: %s", path, strerror(errno));
	/*
	 * Reserves the pages: on a full tmpfs the start fails here, not a
	 * worker with SIGBUS later.
	 */
	rc = posix_fallocate(fd, 0, sizeof(*shared));
	if (rc != 0) {
		error_set(err, SGATE_INTERNAL, "shared", "allocate", rc,
		    "%s: %zu bytes: %s", path, sizeof(*shared), strerror(rc));
		goto fail;
	}
	shared = mmap(
	    NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (shared == MAP_FAILED) {
		error_set(err, SGATE_INTERNAL, "shared", "map", errno, "%s: %s",
		    path, strerror(errno));
		goto fail;
	}
	rc = init_mutexes(shared);
	if (rc != 0) {
		error_set(err, SGATE_INTERNAL, "shared", "mutex", rc, "%s: %s",
		    path, strerror(rc));
		goto fail;
	}
	rate_init(&shared->bad_tokens);
	rate_init(&shared->logins);
	shared->version = SHARED_VERSION;
	shared->size = sizeof(*shared);
	atomic_store(&shared->started_ms, clock_utc_ms());
	memcpy(shared->magic, SHARED_MAGIC, sizeof(shared->magic));
	close(fd);
	*out_shared = shared;
	return SGATE_OK;

fail:
	shared_close(shared == MAP_FAILED ? NULL : shared);
	unlink(path);
	close(fd);
	return SGATE_INTERNAL;
}

void
shared_close(struct shared *shared)
{
	if (shared != NULL)
		munmap(shared, sizeof(*shared));
}

void
shared_remove(const char *runtime_dir)
{
	char path[4096];

	if (file_path(runtime_dir, path, sizeof(path)))
		unlink(path);
}

/* ---- what was counted ---- */

static bool
is_used(const struct tally *tally)
{
	return atomic_load_explicit(&tally->is_used, memory_order_relaxed) != 0;
}

static void
set_verdicts(struct tally *sum)
{
	static const enum tally_counter counters[TALLY_VERDICTS] = {
	    [TALLY_ALLOWED] = TALLY_CHECK_ALLOWED,
	    [TALLY_DENIED] = TALLY_CHECK_DENIED,
	    [TALLY_UNAVAILABLE] = TALLY_CHECK_UNAVAILABLE,
	};
	unsigned verdict;

	for (verdict = 0; verdict < TALLY_VERDICTS; verdict++)
		atomic_store(&sum->counters[counters[verdict]],
		    tally_verdicts(sum, (enum tally_verdict)verdict));
}

void
shared_sum(const struct shared *shared, struct tally *out)
{
	size_t i;

	memset(out, 0, sizeof(*out));
	tally_add_all(out, &shared->others);
	for (i = 0; i < STORES_COUNTERS; i++)
		tally_add_own(&out->stores[i],
		    atomic_load_explicit(
			&shared->stores.counts[i], memory_order_relaxed));
	for (i = 0; i < SHARED_WORKERS_MAX; i++)
		if (is_used(&shared->tallies[i]))
			tally_add_all(out, &shared->tallies[i]);
	set_verdicts(out);
}

/* ---- touches ---- */

static int
mutex_lock_briefly(pthread_mutex_t *mutex)
{
	struct timespec until;
	int rc;

	rc = pthread_mutex_trylock(mutex);
	if (rc != EBUSY)
		return rc;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += LOCK_WAIT_MS * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_nsec -= 1000000000L;
		until.tv_sec++;
	}
	return pthread_mutex_clocklock(mutex, CLOCK_MONOTONIC, &until);
}

/*
 * False: do without this bucket. The count is copied once: a worker that was
 * broken into may change it at any moment.
 */
static bool
bucket_lock(struct shared_touch_bucket *bucket, uint32_t *out_count)
{
	int rc = mutex_lock_briefly(&bucket->mutex);

	*out_count = 0;
	if (rc == EOWNERDEAD) {
		bucket->count = 0;
		memset(bucket->touches, 0, sizeof(bucket->touches));
		pthread_mutex_consistent(&bucket->mutex);
		rc = 0;
	}
	if (rc != 0)
		return false;
	*out_count = __atomic_load_n(&bucket->count, __ATOMIC_RELAXED);
	if (*out_count > SHARED_TOUCH_WAYS)
		*out_count = 0;
	return true;
}

static void
bucket_unlock(struct shared_touch_bucket *bucket)
{
	pthread_mutex_unlock(&bucket->mutex);
}

/* The last byte of a ref is random, and a ref's tag was checked before. */
static struct shared_touch_bucket *
bucket_of(struct shared *shared, const struct sgate_ref *ref)
{
	return &shared->touches[ref->bytes[SGATE_REF_BYTES - 1] %
				SHARED_TOUCH_BUCKETS];
}

/* The lock is held. NULL when nothing is pending for ref. */
static struct durable_touch *
bucket_find(struct shared_touch_bucket *bucket, uint32_t count,
    const struct sgate_ref *ref)
{
	uint32_t i;

	for (i = 0; i < count; i++) {
		if (memcmp(&bucket->touches[i].ref, ref, sizeof(*ref)) == 0)
			return &bucket->touches[i];
	}
	return NULL;
}

/*
 * The later moment of activity stands. Of two successor marks for one secret
 * the first use stands; a mark for another secret is of a later rotation when
 * it is later, and then the earlier one no longer matches any row.
 */
static void
merge(struct durable_touch *pending, const struct durable_touch *touch)
{
	bool is_same_secret;

	if (touch->last_seen_ms > pending->last_seen_ms) {
		pending->last_seen_ms = touch->last_seen_ms;
		pending->copy_ttl_ms = touch->copy_ttl_ms;
	}
	if (touch->successor_used_ms == 0)
		return;
	is_same_secret = memcmp(pending->secret_hash, touch->secret_hash,
			     sizeof(touch->secret_hash)) == 0;
	if (pending->successor_used_ms != 0) {
		if (is_same_secret &&
		    touch->successor_used_ms >= pending->successor_used_ms)
			return;
		if (!is_same_secret &&
		    touch->successor_used_ms <= pending->successor_used_ms)
			return;
	}
	pending->successor_used_ms = touch->successor_used_ms;
	memcpy(pending->secret_hash, touch->secret_hash,
	    sizeof(pending->secret_hash));
}

bool
shared_touch_put(struct shared *shared, const struct durable_touch *touch)
{
	struct shared_touch_bucket *bucket = bucket_of(shared, &touch->ref);
	struct durable_touch *pending;
	bool is_put = true;
	uint32_t count;

	if (!bucket_lock(bucket, &count))
		return false;
	pending = bucket_find(bucket, count, &touch->ref);
	if (pending != NULL) {
		merge(pending, touch);
	} else if (count < SHARED_TOUCH_WAYS) {
		bucket->touches[count] = *touch;
		bucket->count = count + 1;
	} else {
		is_put = false;
	}
	bucket_unlock(bucket);
	return is_put;
}

size_t
shared_touch_copy(struct shared *shared, size_t *cursor,
    struct durable_touch *out, size_t max)
{
	struct shared_touch_bucket *bucket;
	size_t copied = 0;
	uint32_t count;

	for (; *cursor < SHARED_TOUCH_BUCKETS; (*cursor)++) {
		if (max - copied < SHARED_TOUCH_WAYS)
			break;
		bucket = &shared->touches[*cursor];
		if (!bucket_lock(bucket, &count))
			continue;
		memcpy(out + copied, bucket->touches, count * sizeof(*out));
		copied += count;
		bucket_unlock(bucket);
	}
	return copied;
}

static bool
is_same_touch(const struct durable_touch *a, const struct durable_touch *b)
{
	return a->last_seen_ms == b->last_seen_ms &&
	       a->successor_used_ms == b->successor_used_ms &&
	       memcmp(a->secret_hash, b->secret_hash, sizeof(a->secret_hash)) ==
		   0;
}

void
shared_touch_written(
    struct shared *shared, const struct durable_touch *touches, size_t count)
{
	struct shared_touch_bucket *bucket;
	struct durable_touch *pending;
	uint32_t pending_count;
	size_t i;

	for (i = 0; i < count; i++) {
		bucket = bucket_of(shared, &touches[i].ref);
		if (!bucket_lock(bucket, &pending_count))
			continue;
		pending = bucket_find(bucket, pending_count, &touches[i].ref);
		if (pending != NULL && is_same_touch(pending, &touches[i])) {
			*pending = bucket->touches[pending_count - 1];
			bucket->count = pending_count - 1;
		}
		bucket_unlock(bucket);
	}
}

int64_t
shared_touch_last_seen(struct shared *shared, const struct sgate_ref *ref)
{
	struct shared_touch_bucket *bucket = bucket_of(shared, ref);
	struct durable_touch *pending;
	int64_t last_seen_ms = 0;
	uint32_t count;

	if (!bucket_lock(bucket, &count))
		return 0;
	pending = bucket_find(bucket, count, ref);
	if (pending != NULL)
		last_seen_ms = pending->last_seen_ms;
	bucket_unlock(bucket);
	return last_seen_ms;
}

/* ---- marks ---- */

/* The word that stands for one secret of one session, and its set. Never 0. */
static uint64_t
mark_word(const struct sgate_ref *ref,
    const unsigned char secret_hash[TOKEN_HASH_BYTES], size_t *out_set)
{
	static const unsigned char key[crypto_shorthash_KEYBYTES] = {1};
	unsigned char both[SGATE_REF_BYTES + TOKEN_HASH_BYTES];
	unsigned char hash[crypto_shorthash_BYTES];
	uint64_t word;

	memcpy(both, ref->bytes, SGATE_REF_BYTES);
	memcpy(both + SGATE_REF_BYTES, secret_hash, TOKEN_HASH_BYTES);
	crypto_shorthash(hash, both, sizeof(both), key);
	memcpy(&word, hash, sizeof(word));
	/* Of bytes that the word does not tell apart by itself. */
	*out_set =
	    ((size_t)secret_hash[0] << 8 | secret_hash[1]) % SHARED_MARK_SETS;
	return word != 0 ? word : 1;
}

/* In the first free way; in a full set the word itself says whose goes. */
void
shared_mark_set(struct shared *shared, const struct sgate_ref *ref,
    const unsigned char secret_hash[TOKEN_HASH_BYTES])
{
	size_t set, way;
	uint64_t word = mark_word(ref, secret_hash, &set);
	_Atomic uint64_t *ways = shared->marks[set];
	uint64_t free_way = 0;

	if (shared_mark_is_set(shared, ref, secret_hash))
		return;
	for (way = 0; way < SHARED_MARK_WAYS; way++) {
		if (atomic_compare_exchange_strong(&ways[way], &free_way, word))
			return;
		free_way = 0;
	}
	atomic_store(&ways[word % SHARED_MARK_WAYS], word);
}

bool
shared_mark_is_set(struct shared *shared, const struct sgate_ref *ref,
    const unsigned char secret_hash[TOKEN_HASH_BYTES])
{
	size_t set, way;
	uint64_t word = mark_word(ref, secret_hash, &set);

	for (way = 0; way < SHARED_MARK_WAYS; way++) {
		if (atomic_load_explicit(
			&shared->marks[set][way], memory_order_relaxed) == word)
			return true;
	}
	return false;
}
