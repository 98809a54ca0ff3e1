//! OpenSSH's client as git starts it.

use std::path::Path;

use service_kit::BoxError;

use crate::settings::{ACCEPT_NEW, is_plain_path};

/// File in the service's own folder with the keys of hosts that were unknown when they were first reached.
const LEARNT: &str = "known_hosts";

/// Returns the command by which git reaches a host; git gives it to a shell.
///
/// Keys are added to a file in `base`: the one that is given may lie where nothing can be written, as in an image.
///
/// # Errors
/// If a shell could read the name of that file as something else.
pub(super) fn command(host_keys: &str, known_hosts: &str, base: &Path) -> Result<String, BoxError> {
    let learnt = base.join(LEARNT);
    let own = match learnt.to_str().filter(|path| is_plain_path(path)) {
        _ if host_keys != ACCEPT_NEW => known_hosts,
        Some(path) => path,
        None => {
            let problem = "ssh can't keep keys there; it takes a path of letters, digits and /._-";
            return Err(format!("{} (GIT_WORKSPACE_BASE_PATH): {problem} (GIT_SSH_HOST_KEYS)", base.display()).into());
        }
    };
    Ok(format!(
        "ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking={host_keys} -o UserKnownHostsFile={own} \
         -o GlobalKnownHostsFile={known_hosts} -o IdentityAgent=none -o IdentitiesOnly=yes -o ClearAllForwardings=yes \
         -o PermitLocalCommand=no -o ConnectTimeout=15"
    ))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Asks ssh what it makes of the command.
    fn understood(command: &str) -> Vec<String> {
        let output = Command::new("sh").args(["-c", &format!("{command} -G git.example.com")]).output().unwrap();
        assert!(output.status.success(), "OpenSSH is needed: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn keys_are_learnt_into_a_file_of_the_service_s_own_and_only_where_that_is_wanted() {
        for (host_keys, checking, own) in [("yes", "true", "/etc/keys"), ("accept-new", "accept-new", "/work/space/known_hosts")] {
            let found = understood(&command(host_keys, "/etc/keys", Path::new("/work/space")).unwrap());
            for line in [
                format!("stricthostkeychecking {checking}"),
                format!("userknownhostsfile {own}"),
                "globalknownhostsfile /etc/keys".to_owned(),
                "batchmode yes".to_owned(),
                "identitiesonly yes".to_owned(),
                "permitlocalcommand no".to_owned(),
            ] {
                assert!(found.contains(&line), "{host_keys}: {line} is not in\n{}", found.join("\n"));
            }
        }
    }

    #[test]
    fn a_folder_that_a_shell_reads_otherwise_is_no_place_for_keys() {
        for folder in ["/my work", "/a;b", "/a$(b)", "/100%"] {
            let message = command("accept-new", "/etc/keys", Path::new(folder)).unwrap_err().to_string();
            assert!(message.contains("GIT_WORKSPACE_BASE_PATH") && message.contains("GIT_SSH_HOST_KEYS"), "{message}");
            assert!(command("yes", "/etc/keys", Path::new(folder)).is_ok(), "{folder}");
        }
    }
}
