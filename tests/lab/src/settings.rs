//! Where the lab lies and what it is told by the environment.

use std::env;
use std::path::PathBuf;

use crate::error::LabError;
use crate::tools::Tools;

/// The folder `provision` of the user's cache.
///
/// # Errors
/// [`LabError::NoHome`] if neither `XDG_CACHE_HOME` nor `HOME` is set.
pub fn cache_folder() -> Result<PathBuf, LabError> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    cache.map(|cache| cache.join("provision")).ok_or(LabError::NoHome)
}

/// The lab's folder: `PROVISION_LAB_DIR`, or the folder `lab` in the cache.
///
/// # Errors
/// [`LabError::NoHome`] if there is no cache folder.
pub fn lab_folder() -> Result<PathBuf, LabError> {
    match env::var_os("PROVISION_LAB_DIR").filter(|value| !value.is_empty()) {
        Some(folder) => Ok(folder.into()),
        None => Ok(cache_folder()?.join("lab")),
    }
}

/// The pinned programs of this version of the lab.
///
/// # Errors
/// [`LabError::NoHome`] if there is no cache folder.
pub fn tools() -> Result<Tools, LabError> {
    Ok(Tools::below(&cache_folder()?))
}

/// The cluster that tests are to use instead of a lab.
pub(crate) fn foreign_kubeconfig() -> Option<PathBuf> {
    env::var_os("PROVISION_TEST_KUBECONFIG").filter(|value| !value.is_empty()).map(PathBuf::from)
}
