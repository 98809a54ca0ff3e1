//! Measures rendering: `cargo run --release -p provision-config --example render_bench -- [services]` (four objects each).
#![expect(clippy::print_stdout, reason = "the figures are the output")]

use std::error::Error;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use provision_config::{RenderInputs, Renderer, Selection, Sources, resolve};

const TEMPLATE: &str = r#"
$for: "entry in {{ values.services }}"
$let: {name: "{{ entry.key }}", service: "{{ entry.value }}"}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: "{{ name }}"
  namespace: "{{ values.platform.namespace }}"
  labels: {app: "{{ name }}", app.kubernetes.io/part-of: "{{ values.platform.part_of }}"}
spec:
  replicas: "{{ service.replicas }}"
  selector: {matchLabels: {app: "{{ name }}"}}
  template:
    metadata:
      labels: {app: "{{ name }}", app.kubernetes.io/part-of: "{{ values.platform.part_of }}"}
    spec:
      serviceAccountName: "{{ name }}"
      terminationGracePeriodSeconds: "{{ service.grace_seconds or 30 }}"
      containers:
      - name: "{{ name }}"
        image: "{{ image('app') }}"
        ports:
        - $for: "port in {{ service.ports }}"
          name: "{{ port.name }}"
          containerPort: "{{ port.port }}"
        env:
        - {name: SERVICE_NAME, value: "{{ name }}"}
        - {name: LOG_LEVEL, value: "{{ values.logging.level }}"}
        envFrom:
        - configMapRef: {name: "{{ name }}-config"}
        resources: "{{ service.resources }}"
        securityContext:
          runAsNonRoot: "{{ service.security.run_as_non_root }}"
          readOnlyRootFilesystem: "{{ service.security.read_only_root }}"
---
$for: "entry in {{ values.services }}"
apiVersion: v1
kind: Service
metadata: {name: "{{ entry.key }}", namespace: "{{ values.platform.namespace }}", labels: {app: "{{ entry.key }}"}}
spec:
  selector: {app: "{{ entry.key }}"}
  ports:
  - $for: "port in {{ entry.value.ports }}"
    name: "{{ port.name }}"
    port: "{{ port.service_port or port.port }}"
    targetPort: "{{ port.name }}"
---
$for: "entry in {{ values.services }}"
apiVersion: v1
kind: ConfigMap
metadata: {name: "{{ entry.key }}-config", namespace: "{{ values.platform.namespace }}", labels: {app: "{{ entry.key }}"}}
data:
  $merge: ["{{ entry.value.env }}"]
  NAME: "{{ entry.key }}.{{ values.platform.namespace }}.svc"
---
$for: "entry in {{ values.services }}"
apiVersion: v1
kind: ServiceAccount
metadata: {name: "{{ entry.key }}", namespace: "{{ values.platform.namespace }}", labels: {app: "{{ entry.key }}"}}
automountServiceAccountToken: "{{ entry.value.mount_token }}"
"#;

fn main() -> Result<(), Box<dyn Error>> {
    let services: usize = std::env::args().nth(1).map_or(Ok(1000), |count| count.parse())?;
    let mut base = "\
purpose: benchmark
platform: {name: p, namespace: n, part_of: bench}
target: {kubernetes: '1.36'}
images: {app: {image: registry.example.com/app, tag: '1'}}
registry: {require_digest: false}
provided: {objects: [Namespace/n]}
services:
"
    .to_owned();
    for number in 0..services {
        writeln!(
            base,
            "  service-{number}:\n    kind: Deployment\n    replicas: {}\n    ports: [{{name: http, port: 8080}}, {{name: metrics, port: 9090}}]\n    resources: {{requests: {{cpu: 100m, memory: 64Mi}}, limits: {{memory: 128Mi}}}}\n    env: {{A: 'a-{number}', B: b}}",
            number % 5 + 1
        )?;
    }
    let digest = format!("images: {{app: {{digest: 'sha256:{}'}}}}\n", "a".repeat(64));
    let files =
        [("environments/base.yaml", base.as_str()), ("environments/dev.yaml", digest.as_str()), ("templates/service/all.yaml", TEMPLATE)];
    let sources = Sources::from_files(files);
    let select = |set: &str| Selection { environment: "dev".to_owned(), region: None, sets: vec![set.to_owned()] };
    let (mut cold, mut warm, mut read) = (Vec::new(), Vec::new(), Vec::new());
    let mut objects = 0;
    for round in 0..5 {
        let started = Instant::now();
        let environment = resolve(&sources, &select("logging.level=info"))?;
        read.push(started.elapsed());
        let started = Instant::now();
        let mut renderer = Renderer::new(&sources)?;
        objects = renderer.render(&environment, &RenderInputs::default())?.desired.objects.len();
        cold.push(started.elapsed());
        // Kept: giving back the memory of the former settings is no part of rendering.
        let mut former = vec![environment];
        for number in 0..10 {
            let changed = resolve(&sources, &select(&format!("services.service-{}.replicas=9", round * 10 + number)))?;
            let started = Instant::now();
            renderer.render(&changed, &RenderInputs::default())?;
            warm.push(started.elapsed());
            former.push(changed);
        }
    }
    println!("{objects} objects: best of {} rounds", cold.len());
    for (name, times) in
        [("environment read, merged, checked", &read), ("rendered and checked, cold", &cold), ("again after one service changed", &warm)]
    {
        println!("{name}: {:.1} ms", times.iter().min().copied().unwrap_or(Duration::ZERO).as_secs_f64() * 1e3);
    }
    Ok(())
}
