//! What goes into an image, and the image itself.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde_json::{Value, json};

use crate::contents::{self, Item};
use crate::layer::Layer;
use crate::libraries::{self, Needs};
use crate::{Digest, ImageError};

/// Where Debian and its descendants keep the bundle of trusted certificate authorities.
pub const DEFAULT_CA_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

pub(crate) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";

const CA_BUNDLE_PATH: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Where distributions that have merged these folders into `/usr` have links.
const ROOT_LINKS: [&str; 4] = ["/bin", "/lib", "/lib64", "/sbin"];
const USER: &str = "65532:65532";
const PASSWD: &str = "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nnonroot:x:65532:\n";
const NSSWITCH: &str = "hosts: files dns\n";

/// What an image is made of.
#[derive(Clone, Debug)]
pub struct ImageSpec {
    /// Name of the image; the program becomes `/<name>` and the entry point.
    pub name: String,
    /// The program: a 64-bit ELF file, static or dynamic; its shared libraries come along.
    pub binary: PathBuf,
    /// File on this machine that becomes `/etc/ssl/certs/ca-certificates.crt`; none for a program without TLS.
    pub ca_bundle: Option<PathBuf>,
    /// What of this machine lies beside the program, at the same place: programs by name, files and folders by absolute path. Programs
    /// bring their shared libraries.
    pub contents: Vec<String>,
    /// Further files; their order does not matter.
    pub files: Vec<ExtraFile>,
    /// Environment beside `PATH` and `SSL_CERT_FILE`, which it may override.
    pub environment: BTreeMap<String, String>,
    /// Labels, as in `org.opencontainers.image.source`.
    pub labels: BTreeMap<String, String>,
}

/// A file that goes into the image beside the program.
#[derive(Clone, Debug)]
pub struct ExtraFile {
    /// The file on this machine.
    pub source: PathBuf,
    /// Absolute path inside the image.
    pub path: String,
    /// Permission bits; the owner is root.
    pub mode: u32,
}

impl ImageSpec {
    /// Describes an image with the machine's CA bundle and nothing else beside the program.
    pub fn new(name: impl Into<String>, binary: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            binary: binary.into(),
            ca_bundle: Some(DEFAULT_CA_BUNDLE.into()),
            contents: Vec::new(),
            files: Vec::new(),
            environment: BTreeMap::new(),
            labels: BTreeMap::new(),
        }
    }
}

/// A piece of an image as a registry stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// OCI media type.
    pub media_type: String,
    /// Digest of `content`.
    pub digest: Digest,
    /// The bytes.
    pub content: Bytes,
}

impl Blob {
    pub(crate) fn new(media_type: &str, content: impl Into<Bytes>) -> Self {
        let content = content.into();
        Self { media_type: media_type.to_owned(), digest: Digest::of(&content), content }
    }

    pub(crate) fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest, "size": self.content.len()})
    }
}

/// A complete image in memory; every digest in it fits its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    pub(crate) name: String,
    pub(crate) architecture: String,
    pub(crate) manifest: Blob,
    pub(crate) config: Blob,
    pub(crate) layers: Vec<Blob>,
}

impl Image {
    /// Returns the name it was built under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the digest that pins it: the manifest's.
    pub fn digest(&self) -> &Digest {
        &self.manifest.digest
    }

    /// Returns the processor architecture in OCI's words, as in `amd64`.
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// Returns the manifest.
    pub fn manifest(&self) -> &Blob {
        &self.manifest
    }

    /// Returns everything the manifest refers to: the layers from the lowest up, then the configuration.
    pub fn blobs(&self) -> impl Iterator<Item = &Blob> {
        self.layers.iter().chain([&self.config])
    }

    /// Returns the number of bytes that a registry stores for it.
    pub fn size(&self) -> u64 {
        self.blobs().chain([&self.manifest]).map(|blob| blob.content.len() as u64).sum()
    }
}

/// Builds an image; the same program, libraries and settings give the same digest.
///
/// Two layers: the libraries, CA bundle and user table, which services of one build share, and the program with the extra files on
/// top; between them one with the contents, if there are any. It runs as user and group 65532 and has a writable `/tmp`. Reads and compresses in the calling thread.
///
/// # Errors
/// [`ImageError`] names the file, library or path that can't be packed; nothing is written anywhere.
pub fn build(spec: &ImageSpec) -> Result<Image, ImageError> {
    if !valid_name(&spec.name) {
        return Err(ImageError::InvalidName { name: spec.name.clone() });
    }
    let needs = libraries::resolve(&spec.binary, &[])?;
    let base = base_layer(spec, &needs)?;
    let contents = contents_layer(spec, &base)?;
    let program = program_layer(spec, contents.as_ref().unwrap_or(&base))?;
    let packed: Vec<(Blob, Digest)> =
        [Some(&base), contents.as_ref(), Some(&program)].into_iter().flatten().map(Layer::pack).collect::<Result<_, _>>()?;
    let (layers, archive_digests): (Vec<Blob>, Vec<Digest>) = packed.into_iter().unzip();
    let architecture = needs.machine.oci_architecture().to_owned();
    let config = json_blob(CONFIG_TYPE, &config(spec, &architecture, &archive_digests))?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": config.descriptor(),
        "layers": layers.iter().map(Blob::descriptor).collect::<Vec<_>>(),
    });
    let manifest = json_blob(MANIFEST_TYPE, &manifest)?;
    Ok(Image { name: spec.name.clone(), architecture, manifest, config, layers })
}

fn valid_name(name: &str) -> bool {
    let characters = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    (1..=63).contains(&name.len()) && characters && !name.starts_with('-') && !name.ends_with('-')
}

fn base_layer(spec: &ImageSpec, needs: &Needs) -> Result<Layer<'static>, ImageError> {
    let mut layer = Layer::default();
    layer.folder("/tmp", 0o1777)?;
    for path in ROOT_LINKS {
        // Files lie where the links of this machine lead: without the links they would not be found.
        if let Ok(target) = fs::read_link(path) {
            layer.link(path, &target.to_string_lossy())?;
        }
    }
    layer.file("/etc/passwd", 0o644, PASSWD.into())?;
    layer.file("/etc/group", 0o644, GROUP.into())?;
    layer.file("/etc/nsswitch.conf", 0o644, NSSWITCH.into())?;
    if let Some(bundle) = &spec.ca_bundle {
        layer.file(CA_BUNDLE_PATH, 0o644, read(bundle)?)?;
    }
    add_libraries(&mut layer, needs)?;
    Ok(layer)
}

/// Adds loaders and libraries that are not there yet, in the layer or below.
///
/// All in the folder that holds the C library here: the loader searches it without a cache, wherever it found the others.
fn add_libraries(layer: &mut Layer<'_>, needs: &Needs) -> Result<(), ImageError> {
    let Some(interpreter) = needs.interpreters.first() else { return Ok(()) };
    let anchor = place(needs.libraries.get("libc.so.6").unwrap_or(interpreter))?;
    let folder = Path::new(&anchor).parent().unwrap_or(Path::new("/lib"));
    let libraries = needs.libraries.iter().map(|(name, file)| Ok((folder.join(name).to_string_lossy().into_owned(), file)));
    let loaders = needs.interpreters.iter().map(|path| Ok((place(path)?, path)));
    for entry in loaders.chain(libraries) {
        let (path, file) = entry?;
        if !layer.has(&path) {
            layer.file(&path, 0o755, read(file)?)?;
        }
    }
    Ok(())
}

fn place(path: &Path) -> Result<String, ImageError> {
    let place = contents::place(path).map_err(|source| ImageError::Read { path: path.to_owned(), source })?;
    Ok(place.to_string_lossy().into_owned())
}

fn contents_layer<'a>(spec: &ImageSpec, base: &'a Layer<'a>) -> Result<Option<Layer<'a>>, ImageError> {
    if spec.contents.is_empty() {
        return Ok(None);
    }
    let mut layer = Layer::on(base);
    let mut programs = Vec::new();
    for (path, item) in contents::find(&spec.contents)? {
        let path = path.to_string_lossy();
        if base.has(&path) {
            continue;
        }
        match item {
            Item::Folder if layer.has(&path) => {}
            Item::Folder => layer.folder(&path, 0o755)?,
            Item::Link { target } => layer.link(&path, &target)?,
            Item::File { source, executable } => {
                layer.file(&path, if executable { 0o755 } else { 0o644 }, read(&source)?)?;
                if libraries::is_elf(&source)? {
                    programs.push(source);
                }
            }
        }
    }
    add_libraries(&mut layer, &libraries::resolve(&spec.binary, &programs)?)?;
    Ok(Some(layer))
}

fn program_layer<'a>(spec: &ImageSpec, base: &'a Layer<'a>) -> Result<Layer<'a>, ImageError> {
    let mut layer = Layer::on(base);
    layer.file(&format!("/{}", spec.name), 0o755, read(&spec.binary)?)?;
    for file in &spec.files {
        layer.file(&file.path, file.mode, read(&file.source)?)?;
    }
    Ok(layer)
}

fn config(spec: &ImageSpec, architecture: &str, archive_digests: &[Digest]) -> Value {
    let mut environment = BTreeMap::from([("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/")]);
    if spec.ca_bundle.is_some() {
        environment.insert("SSL_CERT_FILE", CA_BUNDLE_PATH);
    }
    environment.extend(spec.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    json!({
        "created": "1970-01-01T00:00:00Z",
        "architecture": architecture,
        "os": "linux",
        "config": {
            "User": USER,
            "Env": environment.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>(),
            "Entrypoint": [format!("/{}", spec.name)],
            "WorkingDir": "/",
            "Labels": spec.labels,
        },
        "rootfs": {"type": "layers", "diff_ids": archive_digests},
    })
}

fn read(path: &Path) -> Result<Vec<u8>, ImageError> {
    fs::read(path).map_err(|source| ImageError::Read { path: path.to_owned(), source })
}

fn json_blob(media_type: &str, document: &Value) -> Result<Blob, ImageError> {
    let what = media_type.to_owned();
    let text = serde_json::to_vec(document).map_err(|source| ImageError::Json { what, source })?;
    Ok(Blob::new(media_type, text))
}
