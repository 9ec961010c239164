"""What the mounts' files have against each hole is needed: without it, a row of
mounts.py that shows the hole fails.

Each case takes something out of a file of conf/ (or puts the trap in that it
avoids), starts that one mount, and asks the row.
"""

import fronts
import harness
import mounts
from harness import main

del harness.CASES[:]  # mounts.py's own, which came with the import

ENDING = mounts.conf_readme_tells_what_was_seen
# Mount, file, what is taken out, what comes in its place, the row that fails.
HOLES = {
    "nginx_has_the_basic_name_of_its_stock_params": (
        "nginx", "nginx-protect", "fastcgi_param REMOTE_USER $sessgate_user;",
        "fastcgi_param REMOTE_USER $remote_user; fastcgi_param REMOTE_USER $sessgate_user;",
        mounts.a_spoofed_name_is_nobodys),
    "nginx_passes_a_proxy_header_on": (
        "nginx", "nginx-params", 'fastcgi_param HTTP_PROXY "";', "", mounts.a_spoofed_name_is_nobodys),
    "nginx_passes_each_line_of_the_proxies_on": (
        "nginx", "nginx-params", "fastcgi_param HTTP_X_FORWARDED_FOR $http_x_forwarded_for if_not_empty;", "",
        mounts.the_visitors_address_is_what_a_trusted_proxy_says),
    "nginx_forgets_the_policy": (
        "nginx", "nginx-server", "fastcgi_param SESSGATE_POLICY $sessgate_policy;", "",
        mounts.policies_are_the_servers),
    "nginx_shows_programs_the_cookie": (
        "nginx", "nginx-protect", "fastcgi_param HTTP_COOKIE $sessgate_other_cookies;", "",
        mounts.the_session_cookie_is_cut_out_where_it_can_be),
    "nginx_makes_a_500_of_every_refusal": (
        "nginx", "nginx-protect", "error_page 401 500 = @sessgate_refused;", "",
        mounts.a_browser_is_sent_to_the_login_page),
    "nginx_keeps_the_renewed_cookie": (
        "nginx", "nginx-protect", "add_header Set-Cookie $sessgate_set_cookie always;", "",
        mounts.a_renewed_cookie_reaches_the_browser_where_it_can),
    "apache_asks_and_does_not_require": (
        "apache", "apache", "    Require sessgate", "    Require all granted",
        mounts.a_refusal_is_one_and_the_program_does_not_run),
    "apache_shows_programs_the_cookie": (
        "apache", "apache", "RequestHeader edit* Cookie", "#", mounts.the_session_cookie_is_cut_out_where_it_can_be),
    "apache_answers_trace": (
        "apache", "apache", "TraceEnable Off", "", mounts.a_refusal_is_one_and_the_program_does_not_run),
    "apache_forgets_the_name_at_a_local_redirect": (
        "apache", "apache", "SetEnvIfExpr", "#", mounts.a_local_redirect_keeps_the_identity),
    "fcgid_tells_the_browser_the_ref": (
        "apache fcgid", "apache-fcgid", "Header always unset Variable-SESSION_REF", "",
        mounts.the_program_gets_the_identity),
    "fcgid_is_not_told_to_unset_always": (
        "apache fcgid", "apache-fcgid", "Header always unset", "Header unset", mounts.the_program_gets_the_identity),
    "fcgid_is_not_authoritative": (
        "apache fcgid", "apache-fcgid", "    FcgidAccessChecker ",
        "    FcgidAccessCheckerAuthoritative Off\n    FcgidAccessChecker ", mounts.policies_are_the_servers),
    "fcgid_makes_a_401_of_every_refusal": (
        "apache fcgid", "apache-fcgid", "ErrorDocument 401 /.sessgate-refused", "",
        mounts.policies_are_the_servers),
    "lighttpd_looks_before_it_asks": (
        "lighttpd cookie.lua", "lighttpd", '"check-local" => "disable"', '"check-local" => "enable"',
        mounts.a_refusal_is_one_and_the_program_does_not_run),
    "the_script_leaves_the_new_token_to_the_program": (
        "lighttpd cookie.lua", "lighttpd-cookie.lua", 'env["SESSION_SET_COOKIE"] = nil', "",
        mounts.a_renewed_cookie_reaches_the_browser_where_it_can),
    "the_script_leaves_the_cookie_to_the_program": (
        "lighttpd cookie.lua", "lighttpd-cookie.lua", 'r.req_header["Cookie"] =', "local x =",
        mounts.the_session_cookie_is_cut_out_where_it_can_be),
}


def with_hole(t, mount, file, taken, put, row):
    found = []
    printed = fronts.printed

    def holed(gw, name):
        text = printed(gw, name)
        if name == file:
            t.true(taken in text, "%s has %r" % (file, taken))
            text = text.replace(taken, put)
            found.append(name)
        return text

    fronts.printed = holed
    mounts.SEEN.clear()
    mounts.ONLY = mount  # not the whole table
    try:
        mounts.open_house(mount)
        wrong = harness.run_case(row)[2] + harness.run_case(ENDING)[2]
    finally:
        fronts.printed = printed
        mounts.close_house()
    t.equal(found, [file])
    wrong = [line for line in wrong if "AssertionError: " in line]
    t.true(wrong, "%s shows nothing" % row.__name__)
    print("# " + wrong[-1][:160])


for hole in HOLES:
    def one(t, arguments=HOLES[hole]):
        with_hole(t, *arguments)
    one.__name__ = hole
    harness.case(one)

if __name__ == "__main__":
    main()
