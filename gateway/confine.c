/* The system calls that the gateway gives up, with libseccomp. */
#include "config.h"

#include "confine.h"

#include "status.h"

#include <errno.h>
#include <sched.h>
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
    "open_by_handle_at",
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

/*
 * Another view of the system is made by clone(), too. clone3() has its flags in
 * memory, where no filter sees them: it is said not to be there, and then the C
 * library takes clone().
 */
static int
give_up_namespaces(scmp_filter_ctx filter)
{
	static const scmp_datum_t flags[] = {CLONE_NEWCGROUP, CLONE_NEWIPC,
	    CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER,
	    CLONE_NEWUTS};
#if defined(__s390__) || defined(__CRIS__)
	const unsigned flags_at = 1;
#else
	const unsigned flags_at = 0;
#endif
	int clone3 = seccomp_syscall_resolve_name("clone3");
	size_t i;
	int rc = 0;

	for (i = 0; rc == 0 && i < sizeof(flags) / sizeof(flags[0]); i++)
		rc = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS,
		    SCMP_SYS(clone), 1,
		    SCMP_CMP(flags_at, SCMP_CMP_MASKED_EQ, flags[i], flags[i]));
	if (rc == 0 && clone3 != __NR_SCMP_ERROR)
		rc =
		    seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), clone3, 0);
	return rc;
}

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
	if (rc == 0)
		rc = give_up_namespaces(filter);
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
