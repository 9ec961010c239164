#include "config.h"

#include "agent.h"

#include <string.h>

/* Of an unknown agent so much is shown. */
#define AGENT_SHOWN_MAX 40

struct agent_word {
	const char *token;
	const char *name;
};

/*
 * Most browsers also name those that they want to be taken for: the first row
 * that matches counts, so who is imitated stands below who imitates.
 */
static const struct agent_word browsers[] = {
    {"Edg/", "Edge"},
    {"EdgA/", "Edge"},
    {"EdgiOS/", "Edge"},
    {"Edge/", "Edge"},
    {"OPR/", "Opera"},
    {"OPT/", "Opera"},
    {"Opera", "Opera"},
    {"SamsungBrowser/", "Samsung Internet"},
    {"HuaweiBrowser/", "Huawei Browser"},
    {"YaBrowser/", "Yandex Browser"},
    {"Vivaldi/", "Vivaldi"},
    {"DuckDuckGo/", "DuckDuckGo"},
    {"Ddg/", "DuckDuckGo"},
    {"GSA/", "Google app"},
    {"SeaMonkey/", "SeaMonkey"},
    {"PaleMoon/", "Pale Moon"},
    {"Thunderbird/", "Thunderbird"},
    {"FxiOS/", "Firefox"},
    {"Focus/", "Firefox"},
    {"Firefox/", "Firefox"},
    {"CriOS/", "Chrome"},
    {"HeadlessChrome/", "Chrome without a window"},
    {"Chromium/", "Chromium"},
    {"Chrome/", "Chrome"},
    {"Trident/", "Internet Explorer"},
    {"MSIE ", "Internet Explorer"},
    {"Epiphany/", "GNOME Web"},
    {"Konqueror/", "Konqueror"},
    {"Safari/", "Safari"},
    {"Lynx/", "Lynx"},
    {"w3m/", "w3m"},
    {"Links ", "Links"},
    {"ELinks/", "ELinks"},
    {"curl/", "curl"},
    {"Wget/", "Wget"},
    {"libwww-perl/", "a Perl program"},
    {"python-requests/", "a Python program"},
    {"Python-urllib/", "a Python program"},
    {"Go-http-client/", "a Go program"},
    {"okhttp/", "an Android program"},
};

static const struct agent_word systems[] = {
    {"Windows Phone", "Windows Phone"},
    {"Windows", "Windows"},
    {"iPhone", "iPhone"},
    {"iPad", "iPad"},
    {"iPod", "iPod"},
    {"Android", "Android"},
    {"CrOS", "ChromeOS"},
    {"Macintosh", "Mac"},
    {"Mac OS X", "Mac"},
    {"FreeBSD", "FreeBSD"},
    {"OpenBSD", "OpenBSD"},
    {"NetBSD", "NetBSD"},
    {"Linux", "Linux"},
};

static bool
is_word_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9');
}

/* Where a word begins: "HeadlessChrome/1" has no "Chrome/". */
static bool
has_token(struct sgate_bytes agent, const char *token)
{
	size_t len = strlen(token);
	size_t i;

	for (i = 0; i + len <= agent.len; i++)
		if (memcmp(agent.data + i, token, len) == 0 &&
		    (i == 0 || !is_word_byte(agent.data[i - 1])))
			return true;
	return false;
}

static const char *
find_name(
    struct sgate_bytes agent, const struct agent_word *words, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (has_token(agent, words[i].token))
			return words[i].name;
	return NULL;
}

#define FIND(agent, words)                                                     \
	find_name(agent, words, sizeof(words) / sizeof((words)[0]))

/* Not in the middle of a character. */
static void
add_beginning(struct sgate_bytes agent, struct buf *out)
{
	size_t len = agent.len;

	if (len > AGENT_SHOWN_MAX) {
		len = AGENT_SHOWN_MAX;
		while (
		    len > 0 && ((unsigned char)agent.data[len] & 0xc0) == 0x80)
			len--;
	}
	buf_add(out, agent.data, len);
	if (len < agent.len)
		buf_add_text(out, "\xe2\x80\xa6");
}

void
agent_describe(struct sgate_bytes agent, struct buf *out)
{
	const char *browser = FIND(agent, browsers);
	const char *system = FIND(agent, systems);

	agent = bytes_trim(agent);
	if (browser == NULL && system == NULL) {
		if (agent.len == 0)
			buf_add_text(out, "Unknown device");
		else
			add_beginning(agent, out);
		return;
	}
	buf_add_text(out, browser != NULL ? browser : "Unknown browser");
	if (system != NULL) {
		buf_add_text(out, " on ");
		buf_add_text(out, system);
	}
}
