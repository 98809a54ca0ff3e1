//! PostgreSQL that is missing, or of another version than its data.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use super::project::Project;

fn database(programs: &str) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: postgresql, namespace: small}}
spec: {{clusterIP: None, selector: {{app: postgresql}}, ports: [{{name: postgresql, port: 5432}}]}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: postgresql, namespace: small}}
spec:
  serviceName: postgresql
  selector: {{matchLabels: {{app: postgresql}}}}
  template:
    metadata: {{labels: {{app: postgresql}}}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
      - name: postgresql
        image: \"{{{{ image('postgres') }}}}\"
        env:
        - {{name: BIND_ADDRESS, valueFrom: {{fieldRef: {{fieldPath: status.podIP}}}}}}
        - {{name: DATABASE_PASSWORD, value: secret-of-a-test}}
        - {{name: POSTGRES_DATA, value: /data}}
{programs}        securityContext: {{runAsUser: 65532}}
        volumeMounts: [{{name: data, mountPath: /data}}]
  volumeClaimTemplates:
  - metadata: {{name: data}}
    spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Gi}}}}}}
"
    )
}

#[test]
fn a_missing_postgresql_is_named_with_how_to_install_it() {
    let programs = "        - {name: POSTGRES_PROGRAMS, value: /nowhere}\n        - {name: PATH, value: /nowhere}\n";
    let project = Project::new(&database(programs));
    let begun = Instant::now();
    let words = ["StatefulSet/small/postgresql", "[crash-loop]", "PostgreSQL is not installed", "/nowhere", "apt install postgresql"];
    project.badly(&["up", "--yes"], 1, &words);
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

#[test]
fn data_of_another_version_is_named_with_both_versions() {
    let project = Project::new(&database(""));
    let local = project.local();
    let volume = local.join("volumes/small/data-postgresql-0");
    fs::create_dir_all(volume.join("data")).unwrap();
    for folder in [project.state(), &local, &local.join("volumes"), &local.join("volumes/small"), &volume, &volume.join("data")] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o711)).unwrap();
    }
    fs::set_permissions(&volume, fs::Permissions::from_mode(0o777)).unwrap();
    fs::write(volume.join("data/PG_VERSION"), "9\n").unwrap();
    let begun = Instant::now();
    let words = ["StatefulSet/small/postgresql", "was made by PostgreSQL 9", "is installed", "apt install postgresql-9"];
    project.badly(&["up", "--yes"], 1, &words);
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert_eq!(fs::read_to_string(volume.join("data/PG_VERSION")).unwrap(), "9\n", "the data is left alone");
}
