//! Kinds whose replicas can be set through `scale`.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::autoscaling::v1::{Scale, ScaleSpec, ScaleStatus};
use k8s_openapi::api::core::v1::ReplicationController;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kcore::kind::Kind;
use kcore::selector::LabelSelector;

use crate::versions::{read, write};

/// A kind with replicas.
pub(crate) trait Scalable: Kind {
    /// How many are wanted.
    fn replicas(&self) -> i32;
    /// Sets how many are wanted.
    fn set_replicas(&mut self, replicas: i32);
    /// How many there are.
    fn current_replicas(&self) -> i32;
    /// The selector of its Pods, as text.
    fn selector(&self) -> String;

    /// The object's scale.
    fn scale(&self) -> Scale {
        let meta = self.metadata();
        Scale {
            metadata: ObjectMeta {
                name: meta.name.clone(),
                namespace: meta.namespace.clone(),
                uid: meta.uid.clone(),
                resource_version: meta.resource_version.clone(),
                creation_timestamp: meta.creation_timestamp.clone(),
                ..ObjectMeta::default()
            },
            spec: Some(ScaleSpec { replicas: Some(self.replicas()) }),
            status: Some(ScaleStatus {
                replicas: self.current_replicas(),
                selector: Some(self.selector()),
            }),
        }
    }
}

macro_rules! scalable {
    ($kind:ty, $current:expr) => {
        impl Scalable for $kind {
            fn replicas(&self) -> i32 {
                read(&self.spec).replicas.unwrap_or(1)
            }
            fn set_replicas(&mut self, replicas: i32) {
                write(&mut self.spec).replicas = Some(replicas);
            }
            fn current_replicas(&self) -> i32 {
                self.status.as_ref().map_or(0, $current)
            }
            fn selector(&self) -> String {
                LabelSelector::from_api(Some(&read(&self.spec).selector))
                    .map(|selector| selector.to_string())
                    .unwrap_or_default()
            }
        }
    };
}

scalable!(Deployment, |status| *read(&status.replicas));
scalable!(ReplicaSet, |status| *read(&status.replicas));
scalable!(StatefulSet, |status| *read(&status.replicas));

impl Scalable for ReplicationController {
    fn replicas(&self) -> i32 {
        self.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
    }

    fn set_replicas(&mut self, replicas: i32) {
        self.spec.get_or_insert_default().replicas = Some(replicas);
    }

    fn current_replicas(&self) -> i32 {
        self.status.as_ref().map_or(0, |status| status.replicas)
    }

    fn selector(&self) -> String {
        let none = BTreeMap::new();
        let labels = self.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        LabelSelector::from_labels(labels.unwrap_or(&none)).to_string()
    }
}
