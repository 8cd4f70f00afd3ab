//! System calls: a filter over a list, and the two lists. Called by the confinements.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use super::Error;

/// For each call the rules of which one has to hold; none is a match whatever the arguments are.
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Leaves a thread, and all that it starts, these calls.
pub(super) fn allow(calls: &[libc::c_long], denied: SeccompAction) -> Result<(), Error> {
    install(whatever_arguments(calls), denied, SeccompAction::Allow)
}

/// Takes these calls from a thread and all that it starts, and every socket that is not of the
/// internet: what speaks to the kernel itself (netlink), to the wire (packet), to other virtual
/// machines (vsock) or to the programs of the node.
pub(super) fn forbid(calls: &[libc::c_long], denied: SeccompAction) -> Result<(), Error> {
    let mut rules = whatever_arguments(calls);
    rules.insert(libc::SYS_socket, vec![of_no_internet()?]);
    install(rules, SeccompAction::Allow, denied)
}

/// The same for a server that starts programs, and with every socket.
pub(super) fn forbid_starter(denied: SeccompAction) -> Result<(), Error> {
    let mut rules = whatever_arguments(NEVER);
    // Becoming another program is what its children are for.
    rules.remove(&libc::SYS_execve);
    rules.insert(libc::SYS_socket, Vec::new());
    install(rules, SeccompAction::Allow, denied)
}

/// Leaves a program itself: threads, but no other process, no socket, and nobody else's limits
/// or life. What it may execute the rules for files say.
pub(super) fn forbid_program(denied: SeccompAction) -> Result<(), Error> {
    let mut rules = whatever_arguments(NEVER);
    rules.extend(whatever_arguments(OF_OTHERS));
    rules.remove(&libc::SYS_execve);
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    let no_thread = SeccompCmpOp::MaskedEq(thread);
    rules.insert(libc::SYS_clone, vec![when(0, no_thread, 0)?]);
    // So that it dies with whoever started it.
    let death = u64::from(libc::PR_SET_PDEATHSIG.unsigned_abs());
    rules.insert(libc::SYS_prctl, vec![when(0, SeccompCmpOp::Eq, death)?]);
    // Memory that is shared counts as nobody's.
    let shared = u64::from((libc::MAP_SHARED | libc::MAP_ANONYMOUS).unsigned_abs());
    let is_shared = SeccompCmpOp::MaskedEq(shared);
    rules.insert(libc::SYS_mmap, vec![when(3, is_shared, shared)?]);
    // Its number stays its own: it becomes the program, and nobody else's.
    let itself = std::process::id();
    let of_another = SeccompCmpOp::Ne;
    rules.insert(libc::SYS_tgkill, vec![when(0, of_another, itself.into())?]);
    rules.insert(libc::SYS_prlimit64, vec![when(0, SeccompCmpOp::Ne, 0)?]);
    install(rules, SeccompAction::Allow, denied)?;
    // Its flags are in memory, where no filter looks: libraries then take the older call.
    let missing = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    install(
        whatever_arguments(&[libc::SYS_clone3]),
        SeccompAction::Allow,
        missing,
    )
}

/// Matches by the lower half of one argument.
fn when(argument: u8, is: SeccompCmpOp, value: u64) -> Result<SeccompRule, Error> {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, is, value)?;
    Ok(SeccompRule::new(vec![condition])?)
}

fn whatever_arguments(calls: &[libc::c_long]) -> Rules {
    calls.iter().map(|call| (*call, Vec::new())).collect()
}

/// Matches the families that are neither of the two.
fn of_no_internet() -> Result<SeccompRule, Error> {
    let not = |family: libc::c_int| {
        let family = u64::from(family.unsigned_abs());
        SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, family)
    };
    Ok(SeccompRule::new(vec![
        not(libc::AF_INET)?,
        not(libc::AF_INET6)?,
    ])?)
}

fn install(rules: Rules, otherwise: SeccompAction, for_these: SeccompAction) -> Result<(), Error> {
    let machine = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(rules, otherwise, for_these, machine)?;
    let program: BpfProgram = filter.try_into()?;
    seccompiler::apply_filter(&program)?;
    Ok(())
}

/// All that a computation needs after its inputs are open: memory, its streams, time, its end.
pub(super) const COMPUTATION: &[libc::c_long] = &[
    libc::SYS_read,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_statx,
    libc::SYS_close,
    libc::SYS_mmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_munmap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_getrandom,
    libc::SYS_clock_gettime,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_tgkill,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// What a server of ours never does, and what code that broke out of a guest would reach for:
/// other programs, other processes, other namespaces, and the kernel's richest interfaces.
/// `process_madvise` is not among them: the memory pool gives pages back by it, and to another
/// process it may only give hints about paging.
pub(super) const NEVER: &[libc::c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_mount_setattr,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_by_handle_at,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_syslog,
    libc::SYS_personality,
    libc::SYS_setuid,
    libc::SYS_setgid,
];

/// What a single program that computes does not need: other processes, sockets, memory that
/// could be executed without a name, and what processes of one user share.
const OF_OTHERS: &[libc::c_long] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_memfd_create,
    libc::SYS_memfd_secret,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_setpriority,
    libc::SYS_ioprio_set,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    libc::SYS_sched_setaffinity,
    libc::SYS_process_madvise,
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_msgget,
    libc::SYS_semget,
    libc::SYS_mq_open,
];
