/*
 * The scripts: each is one moment of the server, which is what they are for.
 * What they keep safe, line by line: lib/README.md, "Redis".
 *
 * Positions are those of record.h, counted from 1: state 1, version 2 to 17,
 * last_seen 18 to 30, body from 31. Texts of digits of one length compare as
 * their numbers do.
 *
 * A script is called by the SHA-1 of its text. When you change a text, give it
 * its new hash (the contract test tells it); with a wrong one everything still
 * works, only that the text is sent each time.
 */
#include "config.h"

#include "cache_redis.h"
#include "failpoint.h"

/* clang-format off */

/* last_seen of c, where it is one and later, in the place of that of r. */
#define KEEP_LAST_SEEN(r)                                                      \
	" local l=c:sub(18,30)\n"                                              \
	" if #l==13 and not l:find('%D') and l>" r ":sub(18,30) then " r "="   \
	r ":sub(1,17)..l.." r ":sub(31) end\n"

/*
 * PUT: a record that was read in the database, unless something there or here
 * is newer.  KEYS record sync  ARGV s0 record px [only_over]
 */
#define PUT(if_same, if_newer)                                                 \
	"local c,f=redis.call('GET',KEYS[1]),false\n"                          \
	"if c then\n"                                                          \
	" if c:sub(1,1)=='T' then return c end\n"                              \
	if_same                                                                \
	if_newer                                                               \
	"end\n"                                                                \
	"local y=redis.call('GET',KEYS[2])\n"                                  \
	"y=y and tonumber(y:match('^%d+'))\n"                                  \
	"if not y then return 'NOSYNC' end\n"                                  \
	"if y>tonumber(ARGV[1]) then return 'RETRY' end\n"                     \
	"local r=ARGV[2]\n"                                                    \
	"if c and not f then\n"                                                \
	KEEP_LAST_SEEN("r")                                                    \
	"end\n"                                                                \
	"redis.call('SET',KEYS[1],r,'PX',ARGV[3])\n"                           \
	"return 'OK'\n"
#define PUT_IF_SAME                                                            \
	" f=ARGV[4] and c:sub(1,17)==ARGV[4]:sub(1,17)"                        \
	" and c:sub(31)==ARGV[4]:sub(31)\n"
#define PUT_IF_NEWER                                                           \
	" local n=ARGV[2]:sub(2,17)\n"                                         \
	" if not f and (c:sub(2,17)>n or c:sub(2,17)==n and c:sub(1,1)~='U')"  \
	" then return 'HAVE' end\n"

/*
 * END: tombstones, whatever stands there.
 * KEYS record...  ARGV (tombstone px)...
 */
#define ALLOW_OOM "#!lua flags=allow-oom\n"
#define END(flags)                                                             \
	flags                                                                  \
	"for i=1,#KEYS do\n"                                                   \
	" redis.call('SET',KEYS[i],ARGV[2*i-1],'PX',ARGV[2*i])\n"              \
	"end\n"                                                                \
	"return 'OK'\n"

/*
 * TOUCH: a later last_seen, and nothing else.
 * KEYS record  ARGV last_seen px
 */
#define TOUCH                                                                  \
	"local h=redis.call('GETRANGE',KEYS[1],0,29)\n"                        \
	"if h=='' then return 'MISS' end\n"                                    \
	"if h:sub(1,1)=='T' then return 'ENDED' end\n"                         \
	"if #h==30 and h:sub(18,30)<ARGV[1] then\n"                            \
	" redis.call('SETRANGE',KEYS[1],17,ARGV[1])\n"                         \
	" redis.call('PEXPIRE',KEYS[1],ARGV[2],'GT')\n"                        \
	"end\n"                                                                \
	"return 'OK'\n"

/*
 * APPLY: what changed in a group, and its new sync.
 * KEYS sync record...  ARGV from to (record px)...
 */
#define APPLY(if_from)                                                         \
	ALLOW_OOM                                                              \
	"local y=redis.call('GET',KEYS[1])\n"                                  \
	if_from                                                                \
	"for i=2,#KEYS do\n"                                                   \
	" local n,px=ARGV[2*i-1],ARGV[2*i]\n"                                  \
	" local c=redis.call('GET',KEYS[i])\n"                                 \
	" if n:sub(1,1)=='T' or not c then\n"                                  \
	"  redis.call('SET',KEYS[i],n,'PX',px)\n"                              \
	" elseif c:sub(1,1)~='T' and c:sub(2,17)<n:sub(2,17) then\n"           \
	KEEP_LAST_SEEN("n")                                                    \
	"  redis.call('SET',KEYS[i],n,'PX',px)\n"                              \
	" end\n"                                                               \
	"end\n"                                                                \
	"redis.call('SET',KEYS[1],ARGV[2])\n"                                  \
	"return ARGV[2]\n"
#define APPLY_IF_FROM "if (y or '')~=ARGV[1] then return y or '' end\n"

/*
 * CREATE: a session that the database has not got.
 * KEYS record sync [set]  ARGV record px s0 [ref set-px]
 */
#define CREATE_GUARD                                                           \
	"local y=redis.call('GET',KEYS[2])\n"                                  \
	"y=y and tonumber(y:match('^%d+'))\n"                                  \
	"if y and y>tonumber(ARGV[3]) then return 'RETRY' end\n"
#define CREATE(guard)                                                          \
	"local c,n=redis.call('GET',KEYS[1]),ARGV[1]\n"                        \
	"if c then\n"                                                          \
	" if c:sub(1,1)=='T' then return c end\n"                              \
	" local v,w=c:sub(2,17),n:sub(2,17)\n"                                 \
	" if v>w or v==w and c:sub(1,1)~='U' then return 'HAVE' end\n"         \
	KEEP_LAST_SEEN("n")                                                    \
	"end\n"                                                                \
	guard                                                                  \
	"redis.call('SET',KEYS[1],n,'PX',ARGV[2])\n"                           \
	"if KEYS[3] then\n"                                                    \
	" redis.call('SADD',KEYS[3],ARGV[4])\n"                                \
	" redis.call('PEXPIRE',KEYS[3],ARGV[5],'NX')\n"                        \
	" redis.call('PEXPIRE',KEYS[3],ARGV[5],'GT')\n"                        \
	"end\n"                                                                \
	"return 'OK'\n"

/*
 * LAND: the database has got it.
 * KEYS record [set]  ARGV record px [ref]
 */
#define LAND                                                                   \
	ALLOW_OOM                                                              \
	"local c,n=redis.call('GET',KEYS[1]),ARGV[1]\n"                        \
	"if c and c:sub(1,1)=='U' and c:sub(2,17)<=n:sub(2,17) then\n"         \
	KEEP_LAST_SEEN("n")                                                    \
	" redis.call('SET',KEYS[1],n,'PX',ARGV[2])\n"                          \
	"end\n"                                                                \
	"if KEYS[2] then redis.call('SREM',KEYS[2],ARGV[3]) end\n"             \
	"if c and c:sub(1,1)=='T' then return c end\n"                         \
	"return 'OK'\n"

/*
 * UNLANDED: some refs of a set, one behind the other, after what asks for more.
 * KEYS set  ARGV cursor count
 */
#define UNLANDED                                                               \
	"local r=redis.call('SSCAN',KEYS[1],ARGV[1],'COUNT',ARGV[2])\n"        \
	"return r[1]..' '..table.concat(r[2])\n"

/* clang-format on */

static const struct redb_script put = {
    PUT(PUT_IF_SAME, PUT_IF_NEWER), "fb190e9c72ff3d960ab543fa7d03e6479fb8e4e7"};
static const struct redb_script end = {
    END(ALLOW_OOM), "d377415b4f4ac8419c3a954c0296a4bd7c8fbe17"};
static const struct redb_script touch = {
    TOUCH, "9b39e96b6bfc6fa73281ffa7ee8ba1e36604afe5"};
static const struct redb_script apply = {
    APPLY(APPLY_IF_FROM), "d8c086536eb64367820bc01d5b35b07d7ef75cf6"};
static const struct redb_script create = {
    CREATE(CREATE_GUARD), "5db38868181110be7dc7fb552fed2a80b4defac3"};
static const struct redb_script land = {
    LAND, "80e3152d5ca96510596575fe7cfe6d2f9902bbfc"};
static const struct redb_script unlanded = {
    UNLANDED, "ab253b0da64d7eb59abf38635f6724e924defa9a"};

/* For failpoints: what each mechanism is there for, without it. */
static const struct redb_script put_blind = {
    "redis.call('SET',KEYS[1],ARGV[2],'PX',ARGV[3])\n"
    "return 'OK'\n",
    NULL};
static const struct redb_script put_any_version = {PUT(PUT_IF_SAME, ""), NULL};
static const struct redb_script put_force_any = {
    PUT(" f=ARGV[4]~=nil\n", PUT_IF_NEWER), NULL};
static const struct redb_script end_not_oom = {END(""), NULL};
static const struct redb_script end_delete = {
    "for i=1,#KEYS do redis.call('DEL',KEYS[i]) end\n"
    "return 'OK'\n",
    NULL};
static const struct redb_script create_any = {CREATE(""), NULL};
static const struct redb_script apply_from_any = {APPLY(""), NULL};

const struct redb_script *
redb_script_put(void)
{
	if (failpoint_is_off("put-guard"))
		return &put_blind;
	if (failpoint_is_off("put-version"))
		return &put_any_version;
	return failpoint_is_off("force-bytes") ? &put_force_any : &put;
}

const struct redb_script *
redb_script_end(void)
{
	if (failpoint_is_off("tombstone"))
		return &end_delete;
	return failpoint_is_off("allow-oom") ? &end_not_oom : &end;
}

const struct redb_script *
redb_script_touch(void)
{
	return &touch;
}

const struct redb_script *
redb_script_apply(void)
{
	return failpoint_is_off("apply-from") ? &apply_from_any : &apply;
}

const struct redb_script *
redb_script_create(void)
{
	return failpoint_is_off("u-guard") ? &create_any : &create;
}

const struct redb_script *
redb_script_land(void)
{
	return &land;
}

const struct redb_script *
redb_script_unlanded(void)
{
	return &unlanded;
}
