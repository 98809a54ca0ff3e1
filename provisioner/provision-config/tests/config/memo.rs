//! Rendering again after a change gives what rendering anew gives.

use provision_config::{RenderInputs, Renderer, Selection, Sources, render, resolve};

use crate::project::root;

#[test]
fn rendering_again_is_rendering_anew() {
    let sources = Sources::read(&root()).unwrap();
    let mut renderer = Renderer::new(&sources).unwrap();
    let changes: [&[&str]; 9] = [
        &[],
        &["services.api-gateway.replicas=4"],
        &["services.api-gateway.replicas=4", "logging.level=warn"],
        &["services.git-service.enabled=false"],
        &["config.EVENT_BUS_TOPIC_PREFIX=other"],
        &["network.policies=false", "scaling.autoscaling=false"],
        &["services.feature-service.resources={requests: {cpu: 1}}"],
        &["services.feature-service.allow_from=[]"],
        &[],
    ];
    for sets in changes {
        let sets = sets.iter().map(|set| (*set).to_owned()).collect();
        let environment = resolve(&sources, &Selection { environment: "staging".to_owned(), region: None, sets }).unwrap();
        let anew = render(&sources, &environment, &RenderInputs::default()).unwrap();
        let again = renderer.render(&environment, &RenderInputs::default()).unwrap();
        assert_eq!(again.desired.objects, anew.desired.objects);
        assert_eq!(again.desired, anew.desired);
    }
}

#[test]
fn a_failed_rendering_leaves_nothing_behind() {
    let sources = Sources::read(&root()).unwrap();
    let mut renderer = Renderer::new(&sources).unwrap();
    let select = |set: &str| Selection { environment: "staging".to_owned(), region: None, sets: vec![set.to_owned()] };
    let good = resolve(&sources, &select("services.api-gateway.replicas=2")).unwrap();
    let bad = resolve(&sources, &select("services.api-gateway.allow_from=[nobody]")).unwrap();
    let first = renderer.render(&good, &RenderInputs::default()).unwrap().desired.clone();
    assert!(renderer.render(&bad, &RenderInputs::default()).is_err());
    assert_eq!(renderer.render(&good, &RenderInputs::default()).unwrap().desired, first);
}
