//! Which plugins of a profile run at which point, in which order.

use super::{ExtensionPoints, Plugged, Point, Profile};
use crate::Error;

/// The plugins that run at every point they have, with what weights: those that are enabled by
/// default in their order, and then those that the profile adds.
pub(super) fn base(profile: &Profile, defaults: &[String]) -> Vec<(String, Option<i64>)> {
    let all = &profile.all;
    let kept = defaults.iter().filter(|name| !all.disables(name));
    let mut base: Vec<(String, Option<i64>)> =
        kept.map(|name| (name.clone(), all.enables(name).flatten())).collect();
    for (name, weight) in &all.enabled {
        if !base.iter().any(|(known, _)| known == name) {
            base.push((name.clone(), *weight));
        }
    }
    base
}

/// The plugins that run at one point: those that are named there first, the ones among them that
/// run everywhere before the others; then the rest of those that run everywhere.
fn order(profile: &Profile, base: &[(String, Option<i64>)], point: Point) -> Vec<String> {
    let none = Default::default();
    let here = profile.points.get(&point).unwrap_or(&none);
    let everywhere = |name: &String| base.iter().any(|(known, _)| known == name);
    let named = || here.enabled.iter().map(|(name, _)| name);
    let first = named().filter(|name| everywhere(name));
    let then = named().filter(|name| !everywhere(name));
    let rest = base.iter().map(|(name, _)| name);
    let rest = rest.filter(|name| !here.disables(name) && here.enables(name).is_none());
    first.chain(then).chain(rest).cloned().collect()
}

/// Puts the plugins of one point in order, and leaves out those that do not run there.
fn arrange<T>(
    profile: &Profile,
    base: &[(String, Option<i64>)],
    point: Point,
    plugged: &mut Vec<T>,
    name: impl Fn(&T) -> &str,
) -> Result<(), Error> {
    let order = order(profile, base, point);
    if let Some(here) = profile.points.get(&point) {
        for (wanted, _) in &here.enabled {
            if !plugged.iter().any(|plugged| name(plugged) == wanted) {
                let (profile, plugin) = (profile.name.clone(), wanted.clone());
                return Err(Error::NotAtPoint { profile, plugin, point: point.name() });
            }
        }
    }
    let mut left = std::mem::take(plugged);
    for wanted in order {
        let mut at = 0;
        while at < left.len() {
            if name(&left[at]) == wanted {
                plugged.push(left.remove(at));
            } else {
                at += 1;
            }
        }
    }
    Ok(())
}

/// Puts the plugins of every point in order.
pub(super) fn arrange_all(
    profile: &Profile,
    base: &[(String, Option<i64>)],
    points: &mut ExtensionPoints,
) -> Result<(), Error> {
    fn name<P: ?Sized>(plugged: &Plugged<P>) -> &str {
        &plugged.name
    }
    macro_rules! each {
        ($($point:ident => $field:ident),*) => {$(
            arrange(profile, base, Point::$point, &mut points.$field, name)?;
        )*};
    }
    each!(
        PreEnqueue => pre_enqueue,
        QueueSort => queue_sort,
        PreFilter => pre_filter,
        Filter => filter,
        PostFilter => post_filter,
        PreScore => pre_score,
        Reserve => reserve,
        Permit => permit,
        PreBind => pre_bind,
        Bind => bind,
        PostBind => post_bind
    );
    arrange(profile, base, Point::Score, &mut points.score, |(plugged, _)| &plugged.name)?;
    for (plugged, weight) in &mut points.score {
        let here = profile.points.get(&Point::Score);
        let here = here.and_then(|here| here.enables(&plugged.name)).flatten();
        *weight = here.unwrap_or(*weight);
    }
    Ok(())
}
