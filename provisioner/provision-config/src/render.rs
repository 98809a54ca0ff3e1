//! Templates and an environment become objects: pure, deterministic, in parallel, and again only where something changed.

mod evaluate;
mod machine;
mod memo;
mod object;
mod program;
mod template;
mod tracked;
mod units;
mod unused;

use std::sync::Arc;

use provision_model::{Desired, Finding, Severity};
use serde_json::Value as Json;

use crate::check;
use crate::{ConfigErrors, Environment, Sources};

pub(crate) use evaluate::TracedField;
use memo::{Changes, Checked, Memo};
use template::Templates;
use units::Workshop;
pub(crate) use units::{UnitKey, nearest_field};

/// What rendering is told beside the sources and the environment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RenderInputs {
    /// CustomResourceDefinitions that the cluster has.
    pub crds: Vec<Json>,
    /// Minor version of the cluster (`1.36`) instead of the one in the settings.
    pub target: Option<String>,
}

/// The objects of an environment and where each came from.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// The objects. Its findings are warnings, or images without digest; other fatal ones are errors of [`render`].
    pub desired: Desired,
    /// Which template made which object.
    pub provenance: Provenance,
}

/// Which evaluation made which object, by the object's place in [`Desired::objects`].
#[derive(Debug, Clone, Default)]
pub struct Provenance {
    pub(crate) units: Vec<UnitKey>,
}

/// Renders the objects of an environment and checks them.
///
/// # Errors
/// [`ConfigErrors`] with every fatal problem of templates, values and objects.
pub fn render(sources: &Sources, environment: &Environment, inputs: &RenderInputs) -> Result<Rendered, ConfigErrors> {
    let mut renderer = Renderer::new(sources)?;
    renderer.render(environment, inputs)?;
    renderer.into_rendered().ok_or_else(|| ConfigErrors::one(sources, Finding::fatal("render", "nothing was rendered")))
}

/// Compiled templates and what they gave last time; a change of a few values renders only what read them.
#[derive(Debug)]
pub struct Renderer {
    sources: Sources,
    templates: Arc<Templates>,
    memo: Option<Memo>,
}

impl Renderer {
    /// Compiles the templates.
    ///
    /// # Errors
    /// [`ConfigErrors`] with every problem of every template that shows without values.
    pub fn new(sources: &Sources) -> Result<Self, ConfigErrors> {
        let compiled = template::compile(sources).and_then(|templates| {
            let environment = machine::environment();
            let machine = machine::Machine::new(&environment, &templates);
            let findings = units::syntax_findings(sources, &templates, &machine);
            drop(machine);
            drop(environment);
            if findings.is_empty() { Ok(templates) } else { Err(findings) }
        });
        match compiled {
            Ok(templates) => Ok(Self { sources: sources.clone(), templates: Arc::new(templates), memo: None }),
            Err(findings) => Err(ConfigErrors::of(sources, findings)
                .unwrap_or_else(|| ConfigErrors::one(sources, Finding::fatal("template", "the templates can't be compiled")))),
        }
    }

    /// Renders an environment; what did not change since the last time is not rendered again.
    ///
    /// # Errors
    /// [`ConfigErrors`] with every fatal problem; the next call then renders everything.
    pub fn render(&mut self, environment: &Environment, inputs: &RenderInputs) -> Result<&Rendered, ConfigErrors> {
        let before = self.memo.take().filter(|memo| memo.fits(environment, inputs));
        let changes = before.as_ref().map(|memo| Changes::between(&memo.values, &environment.values));
        let (mut reused, crds) = match before {
            Some(memo) => (memo.into_reusable(), None),
            None => (memo::Reusable::default(), Some(self.crds(inputs)?)),
        };
        let catalog = match (reused.catalog.clone(), crds) {
            (Some(catalog), _) => catalog,
            (None, crds) => {
                let target = inputs.target.as_deref().unwrap_or(&environment.settings.target.kubernetes);
                Arc::new(check::Catalog::new(target, crds.unwrap_or_default()))
            }
        };
        let workshop = Workshop { sources: &self.sources, templates: &self.templates, environment };
        let known = reused.checked.take();
        let mut made = workshop.make(reused, changes.as_ref(), &catalog);
        if let Some(errors) = ConfigErrors::of(&self.sources, std::mem::take(&mut made.findings)) {
            return Err(errors);
        }
        let checked = Checked::of(&made, environment, &catalog, known);
        let mut problems = checked.problems.clone();
        workshop.locate(&mut problems, &made);
        let mut findings = check::into_findings(problems);
        findings.extend(unused::report(environment, &checked.reads, &self.templates.mentioned));
        // An image without digest stops an apply, not a look at what would be rendered.
        let stops = |finding: &Finding| finding.severity == Severity::Fatal && finding.code.0 != check::NOT_PINNED;
        let (fatal, other): (Vec<Finding>, Vec<Finding>) = findings.into_iter().partition(stops);
        if let Some(errors) = ConfigErrors::of(&self.sources, fatal) {
            return Err(errors);
        }
        Ok(&self.memo.insert(Memo::new(environment, inputs, made, other, (checked, catalog))).rendered.0)
    }

    /// Gives up the memo for what was rendered last.
    pub fn into_rendered(self) -> Option<Rendered> {
        self.memo.map(|memo| memo.rendered.0)
    }

    /// Reads the CustomResourceDefinitions of `templates/crds/` and adds those of the cluster.
    fn crds(&self, inputs: &RenderInputs) -> Result<Vec<Json>, ConfigErrors> {
        let mut findings = Vec::new();
        let mut crds = check::crds_of_sources(&self.sources, &mut findings);
        match ConfigErrors::of(&self.sources, findings) {
            Some(errors) => Err(errors),
            None => {
                crds.extend(inputs.crds.iter().cloned());
                Ok(crds)
            }
        }
    }

    pub(crate) fn trace(&self, environment: &Environment, unit: &UnitKey) -> Vec<TracedField> {
        Workshop { sources: &self.sources, templates: &self.templates, environment }.trace(unit)
    }

    pub(crate) fn origin(&self, field: &TracedField) -> provision_model::Origin {
        self.templates.tree.origin(field.place)
    }
}
