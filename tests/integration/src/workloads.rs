/// Writes a Deployment whose pod spec holds `spec`.
pub fn deployment(name: &str, spec: &str) -> String {
    format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: NAMESPACE}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 1
{spec}
---
"#
    )
}

/// Writes the only container of a pod spec: busybox, and what `rest` says of it.
pub fn container(rest: &str) -> String {
    format!("      containers:\n      - name: main\n        image: lab.local/busybox:1\n        imagePullPolicy: Never\n{rest}")
}

/// Writes a container that runs a shell script.
pub fn shell(script: &str) -> String {
    container(&format!("        command: [/bin/busybox, sh, -c, {script:?}]"))
}
