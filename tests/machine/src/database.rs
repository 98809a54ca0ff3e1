//! The platform's database, as its owner sees it.

use provision_apply::Cluster;
use provision_local::{Launch, LocalCluster, LocalSettings};
use provision_model::ResourceId;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::Machine;

impl Machine {
    /// Reaches the objects of this platform.
    ///
    /// # Panics
    /// When no supervisor answers.
    #[expect(clippy::expect_used, reason = "a test without its world must fail, with the reason")]
    pub async fn cluster(&self) -> LocalCluster {
        let arguments = vec!["--supervisor".into(), self.local().into()];
        let launch = Launch { program: self.program.clone(), arguments };
        // The build 0 takes over from nobody.
        LocalCluster::open(LocalSettings { state: self.local(), build: 0, launch }).await.expect("a supervisor")
    }

    /// Connects to the database.
    ///
    /// # Panics
    /// When it does not answer.
    #[expect(clippy::expect_used, reason = "a test without its world must fail, with the reason")]
    pub async fn database(&self) -> PgPool {
        let cluster = self.cluster().await;
        let id = |kind: &str, name: &str| ResourceId::namespaced("", kind, "feature-system", name);
        let pod = cluster.get(&id("Pod", "postgresql-0")).await.expect("an answer").expect("the database's pod");
        let secret = cluster.get(&id("Secret", "feature-secrets")).await.expect("an answer").expect("the secret");
        let password = secret.value()["data"]["DATABASE_PASSWORD"].as_str().expect("a password");
        let password = String::from_utf8(decode(password)).expect("a text");
        let options = PgConnectOptions::new()
            .host(pod.text("/status/podIP").expect("an address"))
            .port(5432)
            .username("feature")
            .password(&password)
            .database("feature");
        PgPoolOptions::new().max_connections(2).connect_with(options).await.expect("a connection")
    }
}

#[expect(clippy::expect_used, reason = "what an API server gives is base 64")]
pub(crate) fn decode(text: &str) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(text).expect("base 64")
}
