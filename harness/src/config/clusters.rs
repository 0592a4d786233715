//! The clusters that a plugin configuration names, held against those of its bootstrap: Envoy starts without one, and then
//! says nothing but 503.

use serde_json::Value;

use super::{Config, Error};

impl Config {
    /// A mistake for each name of a cluster that the bootstrap lacks; none where the bootstrap's clusters come from elsewhere
    /// (CDS), or where there is no bootstrap.
    pub fn missing_clusters(&self) -> Vec<Error> {
        let known = self
            .bootstrap
            .as_ref()
            .and_then(|bootstrap| bootstrap.cluster_names());
        let Some(known) = known else {
            return Vec::new();
        };
        let mut named = Vec::new();
        collect(&self.document(), "", &mut named);
        let missing = named.into_iter().filter(|(_, name)| !known.contains(name));
        missing
            .map(|(place, found)| Error::Cluster {
                file: self.file.clone(),
                place,
                found,
                known: known.join(", "),
            })
            .collect()
    }

    /// A mistake for each name of a cluster beside those of pools: simulated servers play endpoints, and nobody else.
    pub fn unplayed_clusters(&self) -> Vec<Error> {
        let mut named = Vec::new();
        collect(&self.document(), "", &mut named);
        named.retain(|(place, _)| {
            !place.starts_with("pools[") || place.ends_with("metrics_cluster")
        });
        let unplayed = |(place, found)| Error::Unplayed {
            file: self.file.clone(),
            place,
            found,
        };
        named.into_iter().map(unplayed).collect()
    }
}

/// Adds every `cluster` in `value`, with its place; a pool without one has the cluster of its name.
fn collect(value: &Value, place: &str, named: &mut Vec<(String, String)>) {
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                collect(item, &format!("{place}[{index}]"), named);
            }
        }
        Value::Object(fields) => {
            let field = |name: &str| match place {
                "" => name.to_owned(),
                place => format!("{place}.{name}"),
            };
            let text = |name: &str| fields.get(name).and_then(Value::as_str);
            if let Some(exporters) = text("metrics_cluster") {
                named.push((field("metrics_cluster"), exporters.to_owned()));
            }
            match (text("cluster"), text("name")) {
                (Some(cluster), _) => named.push((field("cluster"), cluster.to_owned())),
                (None, Some(pool)) if fields.contains_key("endpoints") => {
                    named.push((field("name"), pool.to_owned()));
                }
                (None, _) => {}
            }
            for (name, value) in fields {
                collect(value, &field(name), named);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::envoy::Bootstrap;

    fn missing(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let shipped = Config::shipped().expect("the shipped bootstrap");
        let mut document = shipped.document();
        change(&mut document);
        let config = shipped.with_document(&document);
        let missing = config.missing_clusters().into_iter();
        missing.map(|error| error.to_string()).collect()
    }

    #[test]
    fn every_cluster_that_is_named_has_to_be_there() {
        assert_eq!(missing(|_| ()), [""; 0]);
        let found = missing(|document| {
            document["pools"][0]["name"] = json!("tiny");
            document["pools"][1]["cluster"] = json!("lnog");
            document["pools"][1]["load"] =
                json!({"metrics_path": "/metrics", "metrics_cluster": "dcgm"});
            document["quota_engine"] = json!({"webdis": {"cluster": "webdis"}});
        });
        for (error, expected) in found.iter().zip([
            "pools[0].name: the bootstrap has no cluster \"tiny\"; it has small, long",
            "pools[1].cluster: the bootstrap has no cluster \"lnog\"",
            "pools[1].load.metrics_cluster: the bootstrap has no cluster \"dcgm\"",
            "quota_engine.webdis.cluster: the bootstrap has no cluster \"webdis\"",
        ]) {
            assert!(error.contains(expected), "{error}");
        }
        assert_eq!(found.len(), 4, "{found:?}");
    }

    #[test]
    fn nobody_plays_an_engine() {
        let shipped = Config::shipped().expect("the shipped bootstrap");
        assert_eq!(shipped.unplayed_clusters().len(), 0);
        let mut document = shipped.document();
        document["quota_engine"] = json!({"webdis": {"cluster": "webdis"}});
        let unplayed = shipped.with_document(&document).unplayed_clusters();
        let said = unplayed[0].to_string();
        assert!(
            said.contains("quota_engine.webdis.cluster: nobody plays \"webdis\""),
            "{said}"
        );
    }

    #[test]
    fn clusters_that_come_from_elsewhere_are_nobodys_mistake() {
        let mut bootstrap = Bootstrap::shipped().expect("the shipped bootstrap");
        bootstrap.document_mut()["dynamic_resources"] = json!({"cds_config": {"ads": {}}});
        let config = Config::parse(Path::new("a.json"), &bootstrap.to_json());
        let config = config.expect("a bootstrap");
        let mut document = config.document();
        document["pools"][0]["cluster"] = json!("elsewhere");
        let config = config.with_document(&document);
        assert!(config.missing_clusters().is_empty());
    }
}
