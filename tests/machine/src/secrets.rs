//! How a secret may hide in a text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use provision_apply::Cluster;
use provision_model::GroupKind;

use crate::Machine;
use crate::database::decode;

/// Shortest value of a Secret that counts as secret: a shorter one may stand anywhere by chance.
const SHORTEST: usize = 8;

/// Returns a secret as it is, in a URL, in base 64, in JSON and in hex, each without the parts that depend on its surroundings.
pub fn encodings(secret: &str) -> Vec<String> {
    let bytes = secret.as_bytes();
    let in_url = |byte: &u8| if byte.is_ascii_alphanumeric() { char::from(*byte).to_string() } else { format!("%{byte:02X}") };
    let base64 = |skip: usize| {
        let groups = &bytes[skip.min(bytes.len())..];
        STANDARD_NO_PAD.encode(&groups[..groups.len() / 3 * 3])
    };
    vec![
        secret.to_owned(),
        bytes.iter().map(in_url).collect(),
        base64(0),
        base64(1),
        base64(2),
        secret.replace('/', "\\/"),
        hex::encode(bytes),
    ]
}

impl Machine {
    /// Reads the values of all Secrets of this platform.
    ///
    /// # Panics
    /// When no supervisor answers.
    #[expect(clippy::expect_used, reason = "a test without its world must fail, with the reason")]
    pub async fn secrets(&self) -> Vec<String> {
        let cluster = self.cluster().await;
        let surface = cluster.api().await.expect("an answer");
        let kind = surface.find(&GroupKind::new("", "Secret"), None).expect("Secrets are served");
        let secrets = cluster.list(kind, None).await.expect("an answer").items;
        let values = secrets.iter().flat_map(|secret| secret.value()["data"].as_object().into_iter().flatten());
        let texts = values.filter_map(|(_, value)| String::from_utf8(decode(value.as_str()?)).ok());
        texts.filter(|text| text.len() >= SHORTEST).collect()
    }
}
