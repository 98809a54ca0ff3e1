use provision_model::{Desired, Observed, Plan, Scope};

use crate::leaving::{Contents, Leaving};
use crate::plan::append_leaving;

/// Plans the deletion of everything that a release recorded, each object after those that depend on it.
///
/// Namespaces that hold other people's objects, or were not looked at, are kept and reported.
pub fn plan_down(scope: &Scope, observed: &Observed, contents: &Contents) -> Plan {
    let desired = Desired {
        environment: scope.environment.clone(),
        region: scope.region.clone(),
        release: scope.release.clone(),
        objects: Vec::new(),
        policy: scope.policy.clone(),
        findings: Vec::new(),
    };
    let mut findings = Vec::new();
    let leaving = Leaving::new(&desired, observed, contents).changes(&mut findings);
    let mut plan = Plan {
        environment: scope.environment.clone(),
        region: scope.region.clone(),
        release: scope.release.clone(),
        cluster: observed.cluster.clone(),
        base_generation: observed.generation,
        changes: Vec::new(),
        edges: Vec::new(),
        dropped: Vec::new(),
        findings,
        desired,
    };
    append_leaving(&mut plan, observed, leaving);
    plan
}
