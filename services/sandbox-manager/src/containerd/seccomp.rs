//! Which system calls a container may use: containerd's own default for a container without capabilities.

use serde_json::{Value, json};

/// Names that are allowed with any arguments, one on each line; what a machine does not know is passed over.
const ALLOWED: &str = include_str!("syscalls.txt");
/// No sockets to the machine that runs this one.
const VSOCK: u32 = 40;
/// Flags of `clone` that make namespaces.
const NAMESPACES: u64 = 0x7e02_0000;
/// Programs take this as "not known" and use `clone`, whose flags can be looked at.
const NOT_KNOWN: u32 = 38;

/// Makes the filter; all that is not named fails with "not permitted".
pub(super) fn filter() -> Value {
    let mut rules = vec![
        json!({"names": ALLOWED.lines().collect::<Vec<_>>(), "action": "SCMP_ACT_ALLOW"}),
        json!({"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": VSOCK, "op": "SCMP_CMP_NE"}]}),
        json!({"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]}),
        json!({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": NOT_KNOWN}),
    ];
    // Ways to run old programs; the other ones weaken the kernel's defences.
    for personality in [0_u32, 0x0008, 0x2_0000, 0x2_0008, 0xffff_ffff] {
        let argument = json!({"index": 0, "value": personality, "op": "SCMP_CMP_EQ"});
        rules.push(json!({"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": [argument]}));
    }
    let architectures: &[&str] = match std::env::consts::ARCH {
        "x86_64" => &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "aarch64" => &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
        _ => &[],
    };
    json!({"defaultAction": "SCMP_ACT_ERRNO", "architectures": architectures, "syscalls": rules})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_undoes_a_container_is_not_allowed() {
        let allowed: Vec<&str> = ALLOWED.lines().collect();
        assert!(["read", "execve", "openat", "futex", "arch_prctl"].iter().all(|name| allowed.contains(name)));
        let dangerous = ["mount", "umount2", "unshare", "setns", "bpf", "keyctl", "init_module", "kexec_load", "clone", "io_uring_setup"];
        assert!(!dangerous.iter().any(|name| allowed.contains(name)));
        assert_eq!(NAMESPACES, 0x2_0000 | 0x400_0000 | 0x800_0000 | 0x1000_0000 | 0x2000_0000 | 0x4000_0000 | 0x200_0000);
    }
}
