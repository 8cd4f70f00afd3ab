//! Which reasons a rollout is undone for at once: those that are the code's own fault.
//!
//! Pure; asked by the operator's rollout. A node, a policy or the way to it may be at fault for
//! every other: those get time to mend, until the rollout's deadline.

use super::Reason;

impl Reason {
    /// Whether the code itself cannot run, whatever the node.
    pub fn condemns(self) -> bool {
        matches!(
            self,
            Self::CompileTimeout
                | Self::CompileMemoryExceeded
                | Self::CompileFailed
                | Self::MachineCodeTooLarge
                | Self::LinkFailed
                | Self::StartFailed
                | Self::StartTimeout
                | Self::NotListening
                | Self::HealthCheckFailed
                | Self::CrashQuarantined
                | Self::MemoryExceeded
                | Self::CpuExceeded
                | Self::TimeoutExceeded
                | Self::Trapped
                | Self::GuestError
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_that_cannot_run_is_condemned_and_a_full_disk_is_not_its_fault() {
        assert!(Reason::HealthCheckFailed.condemns() && Reason::CompileFailed.condemns());
        let others = [
            Reason::NoSpace,
            Reason::HandOverUnreachable,
            Reason::Unsigned,
        ];
        assert!(!others.into_iter().any(Reason::condemns));
    }
}
