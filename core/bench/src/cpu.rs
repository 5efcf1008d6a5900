//! CPU time, memory and the clock, as the kernel has them.

use std::collections::BTreeMap;
use std::fs;

use rustix::time::{ClockId, clock_gettime};

/// The CPU time that a process used on behalf of what is measured.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// Nanoseconds of each thread of the process and of each `ksoftirqd`.
    threads: BTreeMap<String, u64>,
}

impl Usage {
    /// What the process `pid`, with the kernel's helpers of the CPU that it is pinned to, has used
    /// up to this moment.
    pub fn of(pid: u32, cpu: usize) -> Self {
        let mut threads = BTreeMap::new();
        for thread in entries(&format!("/proc/{pid}/task")) {
            let path = format!("/proc/{pid}/task/{thread}/schedstat");
            threads.insert(thread, schedstat(&path));
        }
        let helper = format!("ksoftirqd/{cpu}");
        for process in entries("/proc") {
            let is_number = process.bytes().all(|byte| byte.is_ascii_digit());
            let name = is_number.then(|| fs::read_to_string(format!("/proc/{process}/comm")));
            if name.and_then(Result::ok).is_some_and(|name| name.trim() == helper) {
                threads.insert(helper.clone(), schedstat(&format!("/proc/{process}/schedstat")));
            }
        }
        Self { threads }
    }

    /// Nanoseconds used since `earlier`.
    pub fn since(&self, earlier: &Self) -> u64 {
        let before = |thread| earlier.threads.get(thread).copied().unwrap_or(0);
        self.threads.iter().map(|(thread, nanos)| nanos.saturating_sub(before(thread))).sum()
    }
}

/// Nanoseconds that this process has used, all of its threads and those that ended.
pub fn own_ns() -> u64 {
    nanoseconds(ClockId::ProcessCPUTime)
}

/// Bytes that this process has caused to be written to disks, in whole pages.
pub fn own_written_bytes() -> u64 {
    let text = fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes:"));
    line.and_then(|bytes| bytes.trim().parse().ok()).unwrap_or(0)
}

fn entries(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// The first field: nanoseconds on a CPU.
fn schedstat(path: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().next().and_then(|field| field.parse().ok()).unwrap_or(0)
}

/// The resident memory of a process, in bytes.
pub fn resident_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// What the kernel holds for all TCP sockets of the machine, in bytes.
pub fn socket_buffer_bytes() -> u64 {
    let text = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("TCP:")).unwrap_or_default();
    let mut words = line.split_whitespace().skip_while(|word| *word != "mem");
    words.nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4_096
}

/// Nanoseconds since the machine started; the same clock for all processes.
pub fn now_ns() -> u64 {
    nanoseconds(ClockId::Monotonic)
}

fn nanoseconds(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}
