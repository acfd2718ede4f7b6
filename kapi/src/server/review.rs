//! Questions about who may do what: answered, never stored.
//! <https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access>

use k8s_openapi::api::authentication::v1::{
    SelfSubjectReview, SelfSubjectReviewStatus, TokenReview, TokenReviewStatus, UserInfo,
};
use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, NonResourceAttributes, NonResourceRule, ResourceAttributes,
    ResourceRule, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview,
    SubjectAccessReviewSpec, SubjectAccessReviewStatus, SubjectRulesReviewStatus,
};
use k8s_openapi::api::rbac::v1::PolicyRule;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kcore::client::Path;
use kcore::kind::{Kind, Typed};
use kcore::object::Object;
use kcore::status::Status;

use super::{Identity, Result, Server};
use crate::auth::{Attributes, Credentials, Decision};
use crate::registry::cast_mut;
use crate::versions::read;

/// The group that a user who may do everything belongs to.
const MASTERS: &str = "system:masters";

impl Server {
    /// Answers a review.
    pub(super) async fn review(
        &self,
        user: &Identity,
        path: Path<'_>,
        mut typed: Box<dyn Typed>,
    ) -> Result<Object> {
        let object = &mut *typed;
        object.meta_mut().creation_timestamp = Some(Time(self.options.clock.now()));
        match &*path.resource.kind {
            "SelfSubjectReview" => {
                cast_mut::<SelfSubjectReview>(object).status =
                    Some(SelfSubjectReviewStatus { user_info: Some(user_info(user)) });
                finish::<SelfSubjectReview>(typed)
            }
            "TokenReview" => {
                let review = cast_mut::<TokenReview>(object);
                let token = read(&review.spec.token).into_owned();
                if token.is_empty() {
                    let missing = "token is required for TokenReview in authentication";
                    return Err(Status::bad_request(missing).into());
                }
                let audiences = review.spec.audiences.clone().unwrap_or_default();
                review.status = Some(self.review_token(&token, audiences).await);
                finish::<TokenReview>(typed)
            }
            "SelfSubjectAccessReview" => {
                let review = cast_mut::<SelfSubjectAccessReview>(object);
                let (resource, other) = (
                    review.spec.resource_attributes.clone(),
                    review.spec.non_resource_attributes.clone(),
                );
                review.status = Some(self.judge(user, resource.as_ref(), other.as_ref()).await?);
                finish::<SelfSubjectAccessReview>(typed)
            }
            "SubjectAccessReview" => {
                let review = cast_mut::<SubjectAccessReview>(object);
                review.status = Some(self.judge_subject(&review.spec.clone()).await?);
                finish::<SubjectAccessReview>(typed)
            }
            "LocalSubjectAccessReview" => {
                let review = cast_mut::<LocalSubjectAccessReview>(object);
                let mut spec = review.spec.clone();
                let namespace = path.namespace.unwrap_or_default();
                let asked = spec.resource_attributes.get_or_insert_default();
                if asked.namespace.as_deref().unwrap_or(namespace) != namespace {
                    return Err(Status::bad_request(format!(
                        "spec.resourceAttributes.namespace must match namespace: {namespace}"
                    ))
                    .into());
                }
                asked.namespace = Some(namespace.to_owned());
                review.status = Some(self.judge_subject(&spec).await?);
                finish::<LocalSubjectAccessReview>(typed)
            }
            _ => {
                let review = cast_mut::<SelfSubjectRulesReview>(object);
                let namespace = review.spec.namespace.clone().unwrap_or_default();
                review.status = Some(self.rules_of(user, &namespace));
                finish::<SelfSubjectRulesReview>(typed)
            }
        }
    }

    /// Whose a token is, and for whom of `audiences` it is meant; of this server's if there are
    /// none.
    async fn review_token(&self, token: &str, audiences: Vec<String>) -> TokenReviewStatus {
        let credentials = Credentials { bearer: Some(token), certificate: None };
        let asked = match audiences.is_empty() {
            true => self.own_audiences(),
            false => &audiences,
        };
        match self.authenticate_for(&credentials, asked).await {
            Ok((user, meant)) if !meant.is_empty() || asked.is_empty() => TokenReviewStatus {
                authenticated: Some(true),
                user: Some(user_info(&user)),
                audiences: Some(meant).filter(|meant| !meant.is_empty()),
                ..TokenReviewStatus::default()
            },
            _ => TokenReviewStatus {
                authenticated: Some(false),
                error: Some("invalid bearer token".to_owned()),
                ..TokenReviewStatus::default()
            },
        }
    }

    async fn judge_subject(
        &self,
        spec: &SubjectAccessReviewSpec,
    ) -> Result<SubjectAccessReviewStatus> {
        let user = Identity {
            name: spec.user.clone().unwrap_or_default(),
            uid: spec.uid.clone().unwrap_or_default(),
            groups: spec.groups.clone().unwrap_or_default(),
            extra: spec.extra.clone().unwrap_or_default().into_iter().collect(),
        };
        if user.name.is_empty() && user.groups.is_empty() {
            return Err(Status::bad_request(
                "spec.user: Invalid value: \"\": at least one of user or group must be specified",
            )
            .into());
        }
        let (resource, other) = (&spec.resource_attributes, &spec.non_resource_attributes);
        self.judge(&user, resource.as_ref(), other.as_ref()).await
    }

    async fn judge(
        &self,
        user: &Identity,
        resource: Option<&ResourceAttributes>,
        other: Option<&NonResourceAttributes>,
    ) -> Result<SubjectAccessReviewStatus> {
        fn text(value: &Option<String>) -> &str {
            value.as_deref().unwrap_or_default()
        }
        let attributes = match (resource, other) {
            (Some(ask), None) => Attributes {
                user,
                verb: text(&ask.verb),
                group: text(&ask.group),
                resource: text(&ask.resource),
                subresource: text(&ask.subresource),
                namespace: text(&ask.namespace),
                name: text(&ask.name),
                path: "",
            },
            (None, Some(ask)) => Attributes {
                user,
                verb: text(&ask.verb),
                group: "",
                resource: "",
                subresource: "",
                namespace: "",
                name: "",
                path: text(&ask.path),
            },
            _ => {
                return Err(Status::bad_request(
                    "spec: Invalid value: exactly one of nonResourceAttributes or \
                     resourceAttributes must be specified",
                )
                .into());
            }
        };
        let decision = self.decide(&attributes).await;
        let reason = match &decision {
            Decision::Allow => None,
            Decision::Deny(why) | Decision::NoOpinion(why) => {
                Some(why.clone()).filter(|why| !why.is_empty())
            }
        };
        Ok(SubjectAccessReviewStatus {
            allowed: decision == Decision::Allow,
            denied: matches!(decision, Decision::Deny(_)).then_some(true),
            reason,
            ..SubjectAccessReviewStatus::default()
        })
    }

    fn rules_of(&self, user: &Identity, namespace: &str) -> SubjectRulesReviewStatus {
        let star = || vec!["*".to_owned()];
        let mut status = SubjectRulesReviewStatus::default();
        if user.is_in(MASTERS) {
            status.resource_rules.push(ResourceRule {
                api_groups: Some(star()),
                resources: Some(star()),
                verbs: star(),
                resource_names: None,
            });
            status
                .non_resource_rules
                .push(NonResourceRule { non_resource_urls: Some(star()), verbs: star() });
        }
        let rules = self.rbac.as_ref().map(|rbac| rbac.permissions(user).rules(namespace));
        for rule in rules.unwrap_or_default() {
            let PolicyRule { api_groups, non_resource_urls, resource_names, resources, verbs } =
                rule;
            match resources {
                Some(resources) if !resources.is_empty() => {
                    status.resource_rules.push(ResourceRule {
                        api_groups,
                        resources: Some(resources),
                        resource_names,
                        verbs,
                    });
                }
                _ => status.non_resource_rules.push(NonResourceRule { non_resource_urls, verbs }),
            }
        }
        // Authorizers besides roles cannot be asked for their rules.
        status.incomplete = !self.options.authorizers.is_empty();
        status
    }
}

fn user_info(user: &Identity) -> UserInfo {
    UserInfo {
        username: Some(user.name.clone()),
        uid: Some(user.uid.clone()).filter(|uid| !uid.is_empty()),
        groups: Some(user.groups.clone()),
        extra: Some(user.extra.clone()).filter(|extra| !extra.is_empty()),
    }
}

fn finish<K: Kind>(typed: Box<dyn Typed>) -> Result<Object> {
    let object = typed.into_any().downcast::<K>();
    let object = object.unwrap_or_else(|_| unreachable!("a row meets its own kind"));
    Object::from_typed(*object).map_err(|error| Status::internal(error).into())
}
