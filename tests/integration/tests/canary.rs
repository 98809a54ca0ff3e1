//! Secret values appear in no output and no record, in no encoding, of good and of failing runs.

use integration::{Project, World, deployment, shell};
use machine::encodings;
use provision_apply::Cluster;
use provision_model::GroupKind;

const CANARY: &str = "canary/7f3a9c51+e2~b8 d4";

fn clean(what: &str, text: &str) {
    for encoding in encodings(CANARY) {
        assert!(!text.contains(&encoding), "{what} holds the canary as {encoding}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_output_and_no_record_holds_a_secret_value() {
    let world = World::start().await;
    let namespace = world.namespace("canary").await;
    let project = Project::new(world.lab.kubeconfig(), &namespace);
    let secret = r#"
apiVersion: v1
kind: Secret
metadata: {name: secrets, namespace: NAMESPACE}
data: {URL: "{{ secret('DATABASE_URL') }}"}
---"#;
    let reads = "\n        envFrom: [{secretRef: {name: secrets}}]";
    let template = |command: &str| secret.to_owned() + &deployment("web", &(shell(command) + reads));
    let run = |arguments: &[&str], code: i32| {
        let mut command = project.command(arguments);
        // Everything that can be logged is: the value must not be there either.
        let output = command.env("PROVISION_DEV_DATABASE_URL", CANARY).env("RUST_LOG", "trace").output().unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        clean(&arguments.join(" "), &text);
        text
    };
    project.template(&template("sleep 1000"));
    run(&["plan"], 0);
    run(&["plan", "-o", "json"], 0);
    run(&["render"], 0);
    let log = run(&["up", "--yes", "-o", "json"], 0);
    let sent = format!("provision::request: PATCH /api/v1/namespaces/{namespace}/secrets/secrets?");
    assert!(log.contains(&sent) && log.contains("provision::run: step finished"), "the log tells requests and steps: {log}");
    let secret = provision_model::ResourceId::namespaced("", "Secret", &namespace, "secrets");
    let live = world.cluster.get(&secret).await.unwrap().unwrap();
    assert!(
        encodings(CANARY)[2..5].iter().any(|encoding| live.text("/data/URL").unwrap().contains(encoding)),
        "the Secret itself has the value"
    );

    // A container that prints its secret and dies: the log lines in the report are masked.
    project.template(&template("echo url is $URL; exit 3"));
    let failed = run(&["up", "--yes", "-o", "json"], 1);
    assert!(failed.contains("url is"), "{failed}");
    let failed = run(&["up", "--yes"], 1);
    assert!(failed.contains("url is"), "{failed}");

    // Drift of the Secret shows fingerprints.
    world
        .lab
        .kubectl(&["patch", "secret", "secrets", "-n", &namespace, "--type=merge", "-p", r#"{"stringData":{"URL":"other"}}"#])
        .unwrap();
    let drift = run(&["drift"], 3);
    assert!(drift.contains("fp:"), "{drift}");
    run(&["status"], 1);
    run(&["history", "-o", "json"], 0);
    records_are_clean(&world).await;
    run(&["down", "--yes"], 0);
    world.forget(&namespace).await;
}

/// Opens every record of the release in the cluster.
async fn records_are_clean(world: &World) {
    let api = world.cluster.api().await.unwrap();
    let kind = api.find(&GroupKind::new("", "ConfigMap"), None).unwrap();
    let records = world.cluster.list(kind, Some("provision-system")).await.unwrap().items;
    assert!(!records.is_empty());
    for record in records {
        clean(record.name(), &record.value().to_string());
        let blobs = record.value().get("binaryData").and_then(serde_json::Value::as_object).into_iter().flatten();
        for (name, blob) in blobs {
            let plain = integration::unpack(blob.as_str().unwrap());
            clean(&format!("{} {name}", record.name()), &plain);
        }
    }
}
