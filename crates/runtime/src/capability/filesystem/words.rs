//! The words of wasi:filesystem that both versions have, each in types of its own that are
//! made from its WIT: errors, flags, kinds, attributes and times, written once for `p2` and
//! `p3`. Knows nothing of rights and streams.

/// Translations between rustix and the bindings whose types are in scope; `$moment` is what
/// they call a point in time.
macro_rules! words {
    ($moment:ident) => {
        /// What a guest is told of a failure. What WASI has no word for is `io`.
        fn code(error: Errno) -> ErrorCode {
            match error {
                Errno::XDEV => ErrorCode::CrossDevice,
                Errno::ROFS => ErrorCode::ReadOnly,
                Errno::MFILE => ErrorCode::Quota,
                Errno::TXTBSY => ErrorCode::TextFileBusy,
                other => std::io::Error::from(other).into(),
            }
        }

        fn flag(flag: DescriptorFlags, set: bool) -> DescriptorFlags {
            match set {
                true => flag,
                false => DescriptorFlags::empty(),
            }
        }

        fn kind(directory: bool) -> DescriptorType {
            match directory {
                true => DescriptorType::Directory,
                false => DescriptorType::RegularFile,
            }
        }

        fn stat(attributes: Attributes) -> DescriptorStat {
            let Attributes { directory, stat } = attributes;
            let time = |seconds: i64, nanoseconds: u64| {
                Some($moment {
                    seconds: seconds.try_into().ok()?,
                    nanoseconds: nanoseconds.try_into().ok()?,
                })
            };
            DescriptorStat {
                type_: kind(directory),
                link_count: stat.map_or(1, |stat| {
                    $crate::capability::filesystem::volume::links(&stat)
                }),
                size: stat.map_or(0, |stat| stat.st_size.try_into().unwrap_or_default()),
                data_access_timestamp: stat
                    .and_then(|stat| time(stat.st_atime, stat.st_atime_nsec)),
                data_modification_timestamp: stat
                    .and_then(|stat| time(stat.st_mtime, stat.st_mtime_nsec)),
                status_change_timestamp: stat
                    .and_then(|stat| time(stat.st_ctime, stat.st_ctime_nsec)),
            }
        }

        fn timestamps(
            accessed: NewTimestamp,
            modified: NewTimestamp,
        ) -> Result<rustix::fs::Timestamps, ErrorCode> {
            Ok(rustix::fs::Timestamps {
                last_access: timestamp(accessed)?,
                last_modification: timestamp(modified)?,
            })
        }

        fn timestamp(time: NewTimestamp) -> Result<rustix::fs::Timespec, ErrorCode> {
            let (tv_sec, tv_nsec) = match time {
                NewTimestamp::NoChange => (0, rustix::fs::UTIME_OMIT),
                NewTimestamp::Now => (0, rustix::fs::UTIME_NOW),
                // Above a second the kernel would take the number for one of the two above.
                NewTimestamp::Timestamp(time) if time.nanoseconds < 1_000_000_000 => (
                    time.seconds.try_into().map_err(|_| ErrorCode::Overflow)?,
                    time.nanoseconds.into(),
                ),
                NewTimestamp::Timestamp(_) => return Err(ErrorCode::Invalid),
            };
            Ok(rustix::fs::Timespec { tv_sec, tv_nsec })
        }
    };
}

pub(super) use words;
