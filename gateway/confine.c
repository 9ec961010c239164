/* The system calls that the gateway gives up, with libseccomp. */
#include "config.h"

#include "confine.h"

#include "status.h"

#include <seccomp.h>
#include <string.h>

#ifndef __has_feature /* clang has it, gcc 12 does not */
#define __has_feature(name) 0
#endif

/*
 * Names, because some exist on newer kernels or other processors only: those
 * that this libseccomp does not know are left out. The list takes what an
 * intruder wants first; which calls may be made at all is for the service
 * manager to say (SystemCallFilter= in conf/systemd/sessgate.service).
 */
static const char *const given_up[] = {
    /* other programs, also from memory */
    "execve",
    "execveat",
#if !defined(__SANITIZE_ADDRESS__) && !__has_feature(address_sanitizer)
    /* other processes (LeakSanitizer looks into its own by ptrace) */
    "ptrace",
    "process_vm_readv",
#endif
    "process_vm_writev",
    "process_madvise",
    "pidfd_getfd",
    "kcmp",
    /* the kernel */
    "init_module",
    "finit_module",
    "delete_module",
    "kexec_load",
    "kexec_file_load",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "io_uring_setup",
    "add_key",
    "request_key",
    "keyctl",
    /* another view of the system */
    "mount",
    "umount2",
    "move_mount",
    "open_tree",
    "fsopen",
    "mount_setattr",
    "pivot_root",
    "chroot",
    "unshare",
    "setns",
    "swapon",
    "swapoff",
    "reboot",
    "sethostname",
    "setdomainname",
    "settimeofday",
    "clock_settime",
    "adjtimex",
    "clock_adjtime",
    "acct",
    "quotactl",
    /* another user */
    "setuid",
    "setgid",
    "setreuid",
    "setregid",
    "setresuid",
    "setresgid",
    "setfsuid",
    "setfsgid",
    "setgroups",
    "capset",
    "personality",
    "mknod",
    "mknodat",
};

/* 0, or what libseccomp says: a negative errno. */
static int
fill(scmp_filter_ctx filter)
{
	size_t i;
	int number, rc;

	/*
	 * Without SSB the kernel would slow the whole process down against a
	 * leak that a filter does nothing about; a tree of comparisons and not
	 * a list, because every call passes it.
	 */
	rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_SSB, 1);
	if (rc == 0)
		rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	for (i = 0; rc == 0 && i < sizeof(given_up) / sizeof(given_up[0]);
	     i++) {
		number = seccomp_syscall_resolve_name(given_up[i]);
		if (number == __NR_SCMP_ERROR)
			continue;
		rc = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, number, 0);
	}
	return rc == 0 ? seccomp_load(filter) : rc;
}

enum sgate_status
confine(struct sgate_error *err)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int rc;

	if (filter == NULL)
		return error_memory(err, "confine");
	rc = fill(filter);
	seccomp_release(filter);
	if (rc == 0)
		return SGATE_OK;
	return error_set(err, SGATE_UNAVAILABLE, "seccomp", "confine", -rc,
	    "no seccomp filter: %s; a hole in a worker could start programs",
	    strerror(-rc));
}
