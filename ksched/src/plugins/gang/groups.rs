//! The `PodGroup` API of `scheduling.k8s.io/v1beta1`, where the server has it.

use super::Least;

k8s_openapi::k8s_if_ge_1_37! {
    use k8s_openapi::api::core::v1::Pod;
    use k8s_openapi::api::scheduling::v1beta1::PodGroup;
    use kcore::informer::Lister;

    use crate::framework::Handle;

    /// The pod groups of the cluster.
    #[derive(Debug)]
    pub(super) struct Groups(Lister<PodGroup>);

    impl Groups {
        /// Follows them.
        pub(super) fn new(handle: &Handle) -> Result<Self, String> {
            Ok(Self(handle.informers().of::<PodGroup>().lister()))
        }

        /// How many pods of a group must run for any to.
        pub(super) fn least(&self, namespace: &str, name: &str) -> Least {
            let Some(group) = self.0.get(namespace, name) else { return Least::Unknown };
            match &group.spec.scheduling_policy.gang {
                Some(gang) => Least::Count(usize::try_from(gang.min_count).unwrap_or_default()),
                None => Least::Count(0),
            }
        }
    }

    /// The name of the group that a pod says it belongs to.
    pub(super) fn named(pod: &Pod) -> Option<&str> {
        pod.spec.as_ref()?.scheduling_group.as_ref()?.pod_group_name.as_deref()
    }
}

k8s_openapi::k8s_if_le_1_36! {
    use k8s_openapi::api::core::v1::Pod;

    use crate::framework::Handle;

    /// What this version of Kubernetes does not have.
    #[derive(Debug)]
    pub(super) struct Groups;

    impl Groups {
        pub(super) fn new(_: &Handle) -> Result<Self, String> {
            Err("podGroups: Invalid value: true: the API has PodGroups since 1.37".to_owned())
        }

        pub(super) fn least(&self, _: &str, _: &str) -> Least {
            Least::Unknown
        }
    }

    pub(super) fn named(_: &Pod) -> Option<&str> {
        None
    }
}
