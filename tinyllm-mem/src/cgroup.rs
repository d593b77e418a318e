//! The memory limit of the control groups that this process is in: what a container may use of a machine.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::MemoryInfo;

/// What the strictest limit on this process allows; `None` where there is none.
pub(crate) fn memory_info() -> Option<MemoryInfo> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    info_under(&groups, Path::new("/sys/fs/cgroup"))
}

/// The names of a version's files.
struct Files {
    limit: &'static str,
    used: &'static str,
    /// Lines of memory.stat that count pages of files, which are given up when memory is short.
    reclaimable: [&'static str; 2],
}

const V1: Files = Files {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    reclaimable: ["total_inactive_file ", "total_active_file "],
};

const V2: Files =
    Files { limit: "memory.max", used: "memory.current", reclaimable: ["inactive_file ", "active_file "] };

/// `groups` is what /proc/self/cgroup says: `0::/user.slice`, or `9:memory:/docker/1f` in version 1.
fn info_under(groups: &str, root: &Path) -> Option<MemoryInfo> {
    let group = |line: &str| -> Option<(Files, PathBuf, PathBuf)> {
        let (number, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let path = PathBuf::from(path.strip_prefix('/')?);
        if controllers.split(',').any(|controller| controller == "memory") {
            return Some((V1, root.join("memory"), path));
        }
        (number == "0" && controllers.is_empty()).then(|| (V2, root.to_owned(), path))
    };
    let limits = groups.lines().filter_map(group).flat_map(|(files, root, path)| {
        // Limits of the groups around it hold too; in a container the path may be one of outside.
        let folders: Vec<PathBuf> = path.ancestors().map(|path| root.join(path)).collect();
        folders.into_iter().filter_map(move |folder| limit_of(&folder, &files))
    });
    limits.min_by_key(|info| info.free_bytes)
}

fn limit_of(folder: &Path, files: &Files) -> Option<MemoryInfo> {
    let number = |name: &str| fs::read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
    // Without a limit version 2 says `max` and version 1 a number beyond every machine.
    let total_bytes = number(files.limit).filter(|limit| *limit < 1 << 60)?;
    let used = number(files.used)?;
    let statistics = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let of_line =
        |name: &str| statistics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
    let reclaimable: u64 = files.reclaimable.iter().filter_map(|name| of_line(name)).sum();
    let free_bytes = total_bytes.saturating_sub(used.saturating_sub(reclaimable));
    Some(MemoryInfo { free_bytes, total_bytes })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test ends where it fails
mod tests {
    use super::*;

    fn group(root: &Path, path: &str, files: &[(&str, &str)]) {
        let folder = root.join(path);
        fs::create_dir_all(&folder).unwrap();
        for (name, contents) in files {
            fs::write(folder.join(name), contents).unwrap();
        }
    }

    #[test]
    fn the_strictest_group_counts_and_pages_of_files_are_free() {
        let root = tempfile::tempdir().unwrap();
        group(root.path(), "", &[("memory.stat", "inactive_file 7\n")]);
        group(root.path(), "a", &[("memory.max", "1000\n"), ("memory.current", "900\n")]);
        let statistics = "anon 50\ninactive_file 300\nactive_file 100\n";
        let files = [("memory.max", "2000\n"), ("memory.current", "500\n"), ("memory.stat", statistics)];
        group(root.path(), "a/b", &files);
        let info = |groups: &str| info_under(groups, root.path());
        assert_eq!(info("0::/a\n"), Some(MemoryInfo { free_bytes: 100, total_bytes: 1000 }));
        assert_eq!(info("0::/a/b\n"), Some(MemoryInfo { free_bytes: 100, total_bytes: 1000 }));
        fs::write(root.path().join("a/memory.max"), "max\n").unwrap();
        assert_eq!(info("0::/a/b\n"), Some(MemoryInfo { free_bytes: 1900, total_bytes: 2000 }));
        assert_eq!(info("0::/\n"), None);
        assert_eq!(info("0::/not/there\n"), None);
    }

    #[test]
    fn version_1_has_a_folder_of_its_own() {
        let root = tempfile::tempdir().unwrap();
        let files = [("memory.limit_in_bytes", "4096\n"), ("memory.usage_in_bytes", "5000\n")];
        group(root.path(), "memory/docker/1f", &files);
        group(
            root.path(),
            "memory",
            &[("memory.limit_in_bytes", "9223372036854771712\n"), ("memory.usage_in_bytes", "1\n")],
        );
        let groups = "9:cpu:/x\n5:blkio,memory:/docker/1f\n0::/\n";
        assert_eq!(info_under(groups, root.path()), Some(MemoryInfo { free_bytes: 0, total_bytes: 4096 }));
    }
}
