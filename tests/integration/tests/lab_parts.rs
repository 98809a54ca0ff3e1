//! The lab is a real cluster: pods from its registry, names, volumes, numbers, and servers that crash.

use std::error::Error;
use std::time::{Duration, Instant};

use lab::{Lab, LabHandle, busybox_files};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A namespace of one test, deleted at its end.
struct Namespace<'a> {
    lab: &'a LabHandle,
    name: &'static str,
}

impl<'a> Namespace<'a> {
    fn create(lab: &'a LabHandle, name: &'static str) -> Result<Self> {
        let namespace = Self { lab, name };
        lab.kubectl(&["delete", "namespace", name, "--ignore-not-found"])?;
        lab.kubectl(&["create", "namespace", name])?;
        lab.kubectl(&["wait", "-n", name, "--for=create", "serviceaccount/default", "--timeout=30s"])?;
        Ok(namespace)
    }

    fn run(&self, args: &[&str]) -> Result<String> {
        Ok(self.lab.kubectl(&[&["-n", self.name], args].concat())?)
    }

    fn apply(&self, text: &str) -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("objects.yaml");
        std::fs::write(&path, text)?;
        self.run(&["apply", "--server-side", "-f", &path.display().to_string()])?;
        Ok(())
    }
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        // The next run deletes what could not be deleted now.
        drop(self.run(&["delete", "namespace", self.name, "--wait=false"]));
    }
}

/// Asks until `ask` has an answer; the last error after `limit`.
fn wait_for<T>(limit: Duration, mut ask: impl FnMut() -> Result<T>) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(error) if Instant::now() >= end => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}

#[test]
fn a_deployment_from_the_registry_serves_and_is_measured() -> Result<()> {
    let lab = Lab::require()?;
    lab.import_image("lab.local/busybox:1", &busybox_files()?, &["/bin/sh"])?;
    let image = lab.push_image("lab.local/busybox:1", "lab-test")?;
    let space = Namespace::create(&lab, "lab-serves")?;
    space.apply(&format!(
        r#"{{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {{"name": "web"}}, "spec": {{
          "replicas": 1, "selector": {{"matchLabels": {{"app": "web"}}}},
          "template": {{"metadata": {{"labels": {{"app": "web"}}}}, "spec": {{
            "securityContext": {{"runAsUser": 65534, "runAsNonRoot": true}},
            "containers": [{{"name": "web", "image": "{image}", "ports": [{{"containerPort": 8080}}],
              "resources": {{"requests": {{"cpu": "10m"}}}},
              "readinessProbe": {{"httpGet": {{"path": "/", "port": 8080}}, "periodSeconds": 1}},
              "command": ["sh", "-c", "cd /tmp; echo served > index.html; echo started; exec httpd -f -p 8080"]}}]}}}}}}}}
---
{{"apiVersion": "v1", "kind": "Service", "metadata": {{"name": "web"}}, "spec": {{
  "selector": {{"app": "web"}}, "ports": [{{"name": "http", "port": 80, "targetPort": 8080}}]}}}}
---
{{"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {{"name": "web"}}, "spec": {{
  "scaleTargetRef": {{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}, "minReplicas": 1, "maxReplicas": 2,
  "metrics": [{{"type": "Resource", "resource": {{"name": "cpu", "target": {{"type": "Utilization", "averageUtilization": 80}}}}}}]}}}}
"#
    ))?;
    space.run(&["rollout", "status", "deployment/web", "--timeout=60s"])?;
    assert_eq!(space.run(&["logs", "deployment/web"])?.lines().next(), Some("started"));
    assert_eq!(space.run(&["exec", "deployment/web", "--", "id", "-u"])?.trim(), "65534");
    let through_service = space.run(&["get", "--raw", "/api/v1/namespaces/lab-serves/services/web:http/proxy/"])?;
    assert_eq!(through_service.trim(), "served");
    let names = space.run(&["exec", "deployment/web", "--", "nslookup", "web.lab-serves.svc.cluster.local"])?;
    assert!(names.contains("Name:\tweb.lab-serves.svc.cluster.local"), "{names}");
    let number = wait_for(Duration::from_secs(60), || {
        let path = "jsonpath={.status.currentMetrics[0].resource.current.averageUtilization}";
        let text = space.run(&["get", "hpa", "web", "-o", path])?;
        text.parse::<u32>().map_err(|_| format!("the autoscaler has no number yet: `{text}`").into())
    })?;
    assert!(number < 10_000, "{number}");
    Ok(())
}

#[test]
fn a_volume_is_bound_written_by_its_group_and_offered_again_empty() -> Result<()> {
    let lab = Lab::require()?;
    let space = Namespace::create(&lab, "lab-volume")?;
    space.apply(
        r#"{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": {
  "storageClassName": "fast-ssd", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "20Gi"}}}}
---
{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "writer"}, "spec": {
  "restartPolicy": "Never", "securityContext": {"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 2000},
  "containers": [{"name": "writer", "image": "lab.local/busybox:1", "imagePullPolicy": "Never",
    "command": ["sh", "-c", "echo kept > /data/file && stat -c %g /data"], "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
  "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]}}
"#,
    )?;
    space.run(&["wait", "pod/writer", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s"])?;
    assert_eq!(space.run(&["logs", "writer"])?.trim(), "2000");
    let volume = space.run(&["get", "pvc", "data", "-o", "jsonpath={.spec.volumeName}"])?;
    space.run(&["delete", "pod/writer", "pvc/data", "--timeout=60s"])?;
    lab.kubectl(&["wait", "pv", &volume, "--for=jsonpath={.status.phase}=Available", "--timeout=30s"])?;
    Ok(())
}

#[test]
fn the_add_ons_are_known() -> Result<()> {
    let lab = Lab::require()?;
    for kind in ["externalsecrets", "servicemonitors", "prometheusrules", "certificates", "httproutes"] {
        lab.kubectl(&["get", kind, "--all-namespaces"])?;
    }
    Ok(())
}
