/*
 * MySQL: the caller's own statements. The server has nothing like SQLite's
 * authorizer, so the text is judged before it is sent, by its words: which
 * statement it is, and in one that writes no name of ours may stand at all,
 * not even to read from. What that lets through the account's grants and
 * SERVER_STATUS_IN_TRANS (see mydb_commit()) still hold.
 */
#include "config.h"

#include "durable_mysql.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "buf.h"
#include "status.h"

/* One word, quoted name or sign of a statement. */
struct word {
	const char *text;
	size_t len;
	bool is_name;  /* a word, or a name in backquotes (text is inside) */
	bool is_end;   /* there is none any more */
	bool is_wrong; /* not closed, or a comment that is a statement */
};

static bool
is_word_byte(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '$' ||
	       ((unsigned char)c & 0x80) != 0;
}

/* Behind blanks and comments. A comment that MySQL would run is left. */
static const char *
skip_blanks(const char *at)
{
	const char *end;

	for (;;) {
		while (isspace((unsigned char)*at))
			at++;
		if (*at == '#' ||
		    (at[0] == '-' && at[1] == '-' &&
			(at[2] == '\0' || isspace((unsigned char)at[2]) ||
			    iscntrl((unsigned char)at[2])))) {
			at += strcspn(at, "\n");
			continue;
		}
		if (at[0] != '/' || at[1] != '*' || at[2] == '!' ||
		    (at[2] == 'M' && at[3] == '!'))
			return at;
		end = strstr(at + 2, "*/");
		if (end == NULL)
			return at;
		at = end + 2;
	}
}

/* Behind the closing quote; NULL: there is none. */
static const char *
skip_quoted(const char *at)
{
	char quote = *at++;

	while (*at != '\0') {
		if (*at == '\\' && quote != '`' && at[1] != '\0')
			at += 2;
		else if (at[0] == quote && at[1] == quote)
			at += 2;
		else if (*at == quote)
			return at + 1;
		else
			at++;
	}
	return NULL;
}

/* The next word. An empty string is a word too. */
static const char *
next_word(const char *at, struct word *out)
{
	const char *end;

	at = skip_blanks(at);
	*out = (struct word){.text = at, .is_end = *at == '\0'};
	if (out->is_end)
		return at;
	if (*at == '\'' || *at == '"' || *at == '`') {
		end = skip_quoted(at);
		if (end == NULL) {
			out->is_wrong = true;
			return at + strlen(at);
		}
		out->is_name = *at == '`';
		out->text = at + 1;
		out->len = (size_t)(end - at) - 2;
		return end;
	}
	end = at;
	while (is_word_byte(*end))
		end++;
	out->is_name = end > at;
	if (end == at)
		end++;
	out->len = (size_t)(end - at);
	out->is_wrong = *at == '/' && at[1] == '*';
	return end;
}

static bool
is_one_of(const struct word *word, const char *const *list)
{
	size_t i;

	for (i = 0; list[i] != NULL; i++)
		if (strlen(list[i]) == word->len &&
		    strncasecmp(list[i], word->text, word->len) == 0)
			return true;
	return false;
}

enum sgate_status
mydb_judge_sql(const char *sql, const char **out_why)
{
	static const char *const reads[] = {"SELECT", "VALUES", NULL};
	static const char *const writes[] = {
	    "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", NULL};
	static const char *const ours[] = {"store", "meta", "setting",
	    "session", "user_state", "user_lock", "audit", "idempotency",
	    "service_key", "lease", NULL};
	static const char *const outside[] = {"OUTFILE", "DUMPFILE", NULL};
	bool is_over = false;
	bool is_writing;
	struct word word;
	const char *at = sql;

	do
		at = next_word(at, &word);
	while (word.len == 1 && *word.text == '(');
	*out_why = "there is no statement in the text";
	if (word.is_end || (word.len == 1 && *word.text == ';'))
		return SGATE_INVALID;
	is_writing = word.is_name && is_one_of(&word, writes);
	*out_why = "only SELECT, VALUES, INSERT, UPDATE, DELETE, REPLACE and "
		   "WITH stay within a transaction";
	if (!is_writing && (!word.is_name || !is_one_of(&word, reads)))
		return word.is_wrong ? SGATE_INVALID : SGATE_DENIED;
	for (at = next_word(at, &word); !word.is_end;
	     at = next_word(at, &word)) {
		*out_why = "a comment or quote is not closed, or a comment "
			   "holds a statement";
		if (word.is_wrong)
			return SGATE_INVALID;
		*out_why = "more than one statement in the text";
		if (is_over)
			return SGATE_INVALID;
		is_over = word.len == 1 && *word.text == ';' && !word.is_name;
		*out_why = "it writes and names a table of sessgate's";
		if (is_writing && word.is_name && is_one_of(&word, ours))
			return SGATE_DENIED;
		*out_why = "it writes files of the server";
		if (word.is_name && is_one_of(&word, outside))
			return SGATE_DENIED;
	}
	return SGATE_OK;
}

static enum sgate_status
exec_row(struct sql_run *r, struct sgate_value *values, struct buf *storage,
    size_t count)
{
	enum sgate_status status = SGATE_OK;
	size_t i;

	for (i = 0; i < count && status == SGATE_OK; i++)
		status = mydb_get_own(r, (unsigned)i, &storage[i], &values[i]);
	return status;
}

static enum sgate_status
exec_rows(struct sql_run *r, sgate_row_fn *row, void *row_arg)
{
	size_t count = mydb_columns_count(r);
	struct sgate_value *values = calloc(count + 1, sizeof(*values));
	struct buf *storage = calloc(count + 1, sizeof(*storage));
	enum sgate_status status = SGATE_OK;
	bool is_stopped = false;
	size_t i;

	if (values == NULL || storage == NULL)
		status = error_memory(r->err, r->operation);
	while (status == SGATE_OK && !is_stopped) {
		status = sql_step(r);
		if (status == SGATE_OK)
			status = exec_row(r, values, storage, count);
		if (status == SGATE_OK && row != NULL)
			is_stopped = row(row_arg, values, count) != 0;
	}
	for (i = 0; storage != NULL && i < count; i++)
		buf_clear(&storage[i]);
	free(storage);
	free(values);
	return status == SGATE_NOT_FOUND ? SGATE_OK : status;
}

static void
exec_bind_one(struct sql_run *r, const struct sgate_value *value)
{
	switch (value->kind) {
	case SGATE_VALUE_NULL:
		sql_bind_null(r);
		break;
	case SGATE_VALUE_INTEGER:
		sql_bind_int(r, value->integer);
		break;
	case SGATE_VALUE_TEXT:
		sql_bind_bytes(r, value->bytes);
		break;
	case SGATE_VALUE_BLOB:
		sql_bind_blob(r, value->bytes.data, value->bytes.len);
		break;
	}
}

static enum sgate_status
exec_bind(struct sql_run *r, const struct sgate_value *params, size_t count)
{
	size_t wanted = mydb_params_count(r);
	size_t i;

	if (count != wanted)
		return error_set(r->err, SGATE_INVALID, MYDB_SOURCE,
		    r->operation, 0,
		    "the statement has %zu parameters, given are %zu", wanted,
		    count);
	if (count > SQL_PARAMS_MAX)
		return error_set(r->err, SGATE_INVALID, MYDB_SOURCE,
		    r->operation, 0, "more than %d parameters", SQL_PARAMS_MAX);
	for (i = 0; i < count; i++) {
		if ((unsigned)params[i].kind > SGATE_VALUE_BLOB)
			return error_set(r->err, SGATE_INVALID, MYDB_SOURCE,
			    r->operation, 0, "parameter %zu: unknown kind",
			    i + 1);
		exec_bind_one(r, &params[i]);
	}
	return SGATE_OK;
}

enum sgate_status
mydb_exec(struct durable *d, const char *sql, const struct sgate_value *params,
    size_t params_count, sgate_row_fn *row, void *row_arg,
    struct sgate_error *err)
{
	struct sql_run r;
	enum sgate_status status;
	const char *why;

	error_clear(err);
	if (!mydb_driver.in_transaction(d))
		return sql_misused(d, "exec", "needs a transaction", err);
	status = mydb_judge_sql(sql, &why);
	if (status != SGATE_OK)
		return error_set(
		    err, status, MYDB_SOURCE, "exec", 0, "%s", why);
	status = mydb_open_own(&r, d, sql, err);
	if (status != SGATE_OK)
		return status;
	status = exec_bind(&r, params, params_count);
	if (status == SGATE_OK)
		status = exec_rows(&r, row, row_arg);
	sql_close(&r);
	return status;
}
