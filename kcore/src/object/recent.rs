//! Typed views are let go of in the order they were last of use.

use std::collections::VecDeque;

use super::Object;

/// Objects whose typed views are probably asked for soon: those that were touched last.
///
/// A typed view is several times as large as its object, so whoever holds many objects keeps the
/// views of few. A view that somebody else holds stays.
#[derive(Debug)]
pub struct RecentViews {
    limit: usize,
    objects: VecDeque<Object>,
}

impl RecentViews {
    /// Keeps the views of the last `limit` objects.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, objects: VecDeque::new() }
    }

    /// The object was touched. Returns the one that was touched `limit` objects ago: its view can
    /// [go](Object::drop_idle_view), outside of whatever lock this is behind, since that takes a
    /// while.
    #[must_use]
    pub fn touch(&mut self, object: Object) -> Option<Object> {
        self.objects.push_back(object);
        if self.objects.len() > self.limit { self.objects.pop_front() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    #[test]
    fn the_views_of_the_last_objects_stay_and_those_that_are_held() {
        let objects: Vec<Object> =
            (0..4).map(|_| Object::from_typed(ConfigMap::default()).unwrap()).collect();
        let held = objects[0].view::<ConfigMap>().unwrap();
        let mut recent = RecentViews::new(2);
        for object in &objects {
            object.view::<ConfigMap>().unwrap();
            if let Some(oldest) = recent.touch(object.clone()) {
                oldest.drop_idle_view();
            }
        }
        let at_hand = |object: &Object| object.0.view.load().is_some();
        assert_eq!(objects.iter().map(at_hand).collect::<Vec<_>>(), [true, false, true, true]);
        drop(held);
        assert!(!objects[0].drop_idle_view());
    }
}
