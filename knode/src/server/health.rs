//! `/healthz`: whether the node's agent is well.

use super::query::Query;

/// A named check and what it found.
pub(super) type Check = (&'static str, Result<(), String>);

/// The status and text of `/healthz`, or of `/healthz/<name>`.
pub(super) fn compute_health(
    checks: &[Check],
    name: Option<&str>,
    query: &Query,
) -> Option<(u16, String)> {
    let Some(name) = name else { return Some(all(checks, query)) };
    let (_, found) = checks.iter().find(|(known, _)| *known == name)?;
    Some(match found {
        Ok(()) => (200, "ok".to_owned()),
        Err(reason) => (500, format!("internal server error: {reason}\n")),
    })
}

fn all(checks: &[Check], query: &Query) -> (u16, String) {
    let (mut text, mut failed) = (String::new(), false);
    for (name, found) in checks {
        if query.all("exclude").any(|excluded| excluded == *name) {
            text += &format!("[+]{name} excluded: ok\n");
            continue;
        }
        failed |= found.is_err();
        text += &match found {
            Ok(()) => format!("[+]{name} ok\n"),
            Err(_) => format!("[-]{name} failed: reason withheld\n"),
        };
    }
    let known = |excluded: &&str| checks.iter().any(|(name, _)| name == excluded);
    let unknown: Vec<_> = query.all("exclude").filter(|name| !known(name)).collect();
    if !unknown.is_empty() {
        let names: Vec<_> = unknown.iter().map(|name| format!("{name:?}")).collect();
        let names = names.join(",");
        text += &format!("warn: some health checks cannot be excluded: no matches for {names}\n");
    }
    match failed {
        true => (500, format!("{text}healthz check failed\n")),
        false if query.get("verbose").is_some() => (200, format!("{text}healthz check passed\n")),
        false => (200, "ok".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_is_told_as_upstream_tells_it() {
        let good: [Check; 2] = [("ping", Ok(())), ("syncloop", Ok(()))];
        let bad: [Check; 2] = [("ping", Ok(())), ("syncloop", Err("stuck".into()))];
        let check = |checks: &[Check], name: Option<&str>, query: &str, expect: (u16, &str)| {
            let found = compute_health(checks, name, &Query::parse(query)).unwrap();
            assert_eq!((found.0, found.1.as_str()), expect, "{name:?} {query}");
        };
        check(&good, None, "", (200, "ok"));
        check(&good, None, "verbose", (200, "[+]ping ok\n[+]syncloop ok\nhealthz check passed\n"));
        let text = "[+]ping ok\n[-]syncloop failed: reason withheld\nhealthz check failed\n";
        check(&bad, None, "", (500, text));
        check(&bad, None, "exclude=syncloop", (200, "ok"));
        let text = "[+]ping ok\n[+]syncloop ok\nwarn: some health checks cannot be excluded: no \
                    matches for \"x\"\nhealthz check passed\n";
        check(&good, None, "exclude=x&verbose", (200, text));
        check(&bad, Some("ping"), "", (200, "ok"));
        check(&bad, Some("syncloop"), "", (500, "internal server error: stuck\n"));
        assert_eq!(compute_health(&good, Some("nope"), &Query::default()), None);
    }
}
