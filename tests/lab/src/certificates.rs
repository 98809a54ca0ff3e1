//! The region's certificates: one authority, a certificate for each server and for each client.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use crate::error::{FileContext, LabError};

/// One certificate to make; `organization` is the group that Kubernetes reads from a client's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject {
    pub(crate) file: &'static str,
    pub(crate) common_name: &'static str,
    pub(crate) organization: Option<&'static str>,
    /// DNS names and addresses; a certificate with any is also a server's.
    pub(crate) names: &'static [&'static str],
}

/// Every certificate of a region.
pub(crate) const SUBJECTS: [Subject; 9] = [
    Subject {
        file: "apiserver",
        common_name: "kube-apiserver",
        organization: None,
        names: &[
            "localhost",
            "127.0.0.1",
            "10.96.0.1",
            "10.77.1.1",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ],
    },
    Subject { file: "kubelet", common_name: "node1", organization: None, names: &["node1", "10.77.1.1", "127.0.0.1"] },
    Subject {
        file: "metrics-server",
        common_name: "metrics-server",
        organization: None,
        names: &["metrics-server.kube-system.svc", "10.77.1.1"],
    },
    client("admin", "lab-admin", Some("system:masters")),
    client("apiserver-kubelet", "kube-apiserver-kubelet-client", Some("system:masters")),
    client("controller-manager", "system:kube-controller-manager", None),
    client("scheduler", "system:kube-scheduler", None),
    client("proxy", "system:kube-proxy", None),
    client("node", "system:node:node1", Some("system:nodes")),
];

/// Clients of ours that have service roles of their own.
pub(crate) const ADDON_SUBJECTS: [Subject; 3] = [
    client("coredns", "lab:coredns", None),
    client("metrics-client", "lab:metrics-server", None),
    client("front-proxy", "front-proxy", None),
];

const fn client(file: &'static str, common_name: &'static str, organization: Option<&'static str>) -> Subject {
    Subject { file, common_name, organization, names: &[] }
}

/// Makes what is missing in `folder`: `ca.crt`, `<file>.crt` and `<file>.key` for each subject, `sa.key` and `sa.pub`.
///
/// The authority is made last of all, so a folder with `ca.crt` is complete.
pub(crate) fn ensure(folder: &Path) -> Result<(), LabError> {
    if folder.join("ca.crt").exists() {
        return Ok(());
    }
    fs::create_dir_all(folder).on("create", folder)?;
    let failed = |source| LabError::Certificate { name: "lab-ca".into(), source };
    let authority_key = KeyPair::generate().map_err(failed)?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "lab-ca");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    let authority = params.self_signed(&authority_key).map_err(failed)?;
    write_secret(&folder.join("ca.key"), &authority_key.serialize_pem())?;
    let issuer = Issuer::new(params, authority_key);
    for subject in SUBJECTS.iter().chain(&ADDON_SUBJECTS) {
        let (certificate, key) = issue(subject, &issuer)?;
        write(&folder.join(format!("{}.crt", subject.file)), &certificate)?;
        write_secret(&folder.join(format!("{}.key", subject.file)), &key)?;
    }
    let accounts = KeyPair::generate().map_err(failed)?;
    write(&folder.join("sa.pub"), &accounts.public_key_pem())?;
    write_secret(&folder.join("sa.key"), &accounts.serialize_pem())?;
    write(&folder.join("ca.crt"), &authority.pem())
}

fn issue(subject: &Subject, issuer: &Issuer<'_, KeyPair>) -> Result<(String, String), LabError> {
    let failed = |source| LabError::Certificate { name: subject.common_name.into(), source };
    let names: Vec<String> = subject.names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).map_err(failed)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, subject.common_name);
    if let Some(organization) = subject.organization {
        params.distinguished_name.push(DnType::OrganizationName, organization);
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    if !subject.names.is_empty() {
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    }
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = params.signed_by(&key, issuer).map_err(failed)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn write(path: &Path, text: &str) -> Result<(), LabError> {
    fs::write(path, text).on("write", path)
}

/// Writes a file that only its owner can read.
pub(crate) fn write_secret(path: &Path, text: &str) -> Result<(), LabError> {
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .on("write", path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn every_subject_gets_a_certificate_and_a_key_that_only_the_owner_reads() -> Result<(), LabError> {
        let folder = tempfile::tempdir().on("create", "a temporary folder")?;
        ensure(folder.path())?;
        for subject in SUBJECTS.iter().chain(&ADDON_SUBJECTS) {
            let certificate = fs::read_to_string(folder.path().join(format!("{}.crt", subject.file))).on("read", "crt")?;
            assert!(certificate.starts_with("-----BEGIN CERTIFICATE-----"), "{}", subject.file);
            let key = folder.path().join(format!("{}.key", subject.file));
            let mode = fs::metadata(&key).on("read", &key)?.permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", subject.file);
        }
        Ok(())
    }

    #[test]
    fn a_second_run_keeps_what_the_first_made() -> Result<(), LabError> {
        let folder = tempfile::tempdir().on("create", "a temporary folder")?;
        let read = || fs::read_to_string(folder.path().join("apiserver.crt")).on("read", "apiserver.crt");
        ensure(folder.path())?;
        let first = read()?;
        ensure(folder.path())?;
        assert_eq!(first, read()?);
        Ok(())
    }

    #[test]
    fn the_api_server_answers_to_every_name_it_is_called_by() {
        let names = SUBJECTS[0].names;
        for name in ["127.0.0.1", "localhost", "10.96.0.1", "10.77.1.1", "kubernetes.default.svc"] {
            assert!(names.contains(&name), "{name}");
        }
    }
}
