//! Members that some of the Kubernetes versions require and others leave open.
//!
//! The types follow the enabled version; what reads or writes such a member goes through here, so
//! that it is written once for all of them.

use std::borrow::Cow;

use k8s_openapi::api::{
    admissionregistration, apps, authentication, autoscaling, batch, discovery, flowcontrol,
    networking,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// A member that may be optional or required.
pub(crate) trait Member {
    /// What it holds.
    type Value;

    fn get(&self) -> Option<&Self::Value>;
    fn get_mut(&mut self) -> &mut Self::Value
    where
        Self::Value: Default;
    fn into_value(self) -> Option<Self::Value>;
    fn of(value: Self::Value) -> Self;
}

impl<T> Member for Option<T> {
    type Value = T;

    fn get(&self) -> Option<&T> {
        self.as_ref()
    }
    fn get_mut(&mut self) -> &mut T
    where
        T: Default,
    {
        self.get_or_insert_default()
    }
    fn into_value(self) -> Option<T> {
        self
    }
    fn of(value: T) -> Self {
        Some(value)
    }
}

macro_rules! required {
    ($($kind:ty),* $(,)?) => {$(
        impl Member for $kind {
            type Value = Self;

            fn get(&self) -> Option<&Self> {
                Some(self)
            }
            fn get_mut(&mut self) -> &mut Self {
                self
            }
            fn into_value(self) -> Option<Self> {
                Some(self)
            }
            fn of(value: Self) -> Self {
                value
            }
        }
    )*};
}

required!(
    String,
    admissionregistration::v1::ValidatingAdmissionPolicyBindingSpec,
    apps::v1::DaemonSetSpec,
    apps::v1::DeploymentSpec,
    apps::v1::ReplicaSetSpec,
    apps::v1::StatefulSetSpec,
    authentication::v1::TokenRequestSpec,
    autoscaling::v1::HorizontalPodAutoscalerSpec,
    autoscaling::v2::HorizontalPodAutoscalerSpec,
    batch::v1::CronJobSpec,
    flowcontrol::v1::FlowSchemaSpec,
    flowcontrol::v1::LimitResponse,
    flowcontrol::v1::PriorityLevelConfigurationSpec,
    i32,
    networking::v1::IPAddressSpec,
    networking::v1::ParentReference,
    Time,
    Vec<String>,
    Vec<discovery::v1::Endpoint>,
);

/// What a member holds, or its default if it holds nothing.
pub(crate) fn read<M: Member<Value: Clone + Default>>(member: &M) -> Cow<'_, M::Value> {
    member.get().map_or_else(|| Cow::Owned(M::Value::default()), Cow::Borrowed)
}

/// What a member holds, to be changed; its default if it held nothing.
pub(crate) fn write<M: Member<Value: Default>>(member: &mut M) -> &mut M::Value {
    member.get_mut()
}

/// What a member held, or its default.
pub(crate) fn take<M: Member<Value: Default>>(member: M) -> M::Value {
    member.into_value().unwrap_or_default()
}

/// A member that holds a value.
pub(crate) fn of<M: Member>(value: M::Value) -> M {
    M::of(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_read_alike_whether_they_are_required_or_not() {
        let (mut open, mut required): (Option<i32>, i32) = (None, 0);
        assert_eq!((*read(&open), *read(&required)), (0, 0));
        *write(&mut open) += 5;
        *write(&mut required) += 5;
        assert_eq!((open, required), (of(5), of(5)));
        assert_eq!((take(open), take(required)), (5, 5));
    }
}
