//! Reading ranges, in pages that fit a message.

use bytes::Bytes;

use super::super::convert::{record, revision, signed};
use super::super::proto::{self, path};
use super::super::span::Span;
use super::failure::Kind;
use super::refusal::About;
use super::{Answer, MAX_SMALL_ANSWER, Shared, plan};
use crate::{KeyRange, Page, RangeOptions, Result, Revision};

/// The largest message of a page, which is what gRPC clients take without being told otherwise.
const MAX_MESSAGE: usize = 4 << 20;

/// Records of the first page.
const FIRST_PAGE: usize = 500;

/// The most records of a page.
const MAX_PAGE: usize = 10_000;

/// Bytes that a page should have.
const PAGE_BYTES: usize = 2 << 20;

/// A read that tells the current revision, or whether `at` can be read, and no more.
pub(super) fn probe(at: Revision) -> proto::RangeRequest {
    let span = Span::single(Bytes::from_static(&[0]));
    let mut options = RangeOptions::default().count_only();
    options.at = (at.0 > 0).then_some(at);
    plan::read(span, &options)
}

/// How many records the next page should have, after one of `records` with `bytes`.
fn next_page(records: usize, bytes: usize) -> usize {
    (PAGE_BYTES * records.max(1) / bytes.max(1)).clamp(1, MAX_PAGE)
}

impl Shared {
    pub(super) async fn range(&self, range: KeyRange, options: RangeOptions) -> Result<Page> {
        let Some(mut span) = Span::of(&range) else {
            return self.range_of_nothing(&options).await;
        };
        if options.count_only {
            let message = plan::read(span, &options);
            return Ok(self.page(message, &options).await?.0);
        }
        let mut at = options.at;
        let mut page_size = FIRST_PAGE;
        let mut whole: Option<Page> = None;
        loop {
            let had = whole.as_ref().map_or(0, |page| page.records.len());
            let left = options.limit.map_or(usize::MAX, |limit| limit - had);
            let mut part = options.clone().limit(left.min(page_size));
            part.at = at;
            let (page, bytes) = match self.page(plan::read(span.clone(), &part), &options).await {
                Ok(found) => found,
                Err(TooLarge::Page) if page_size > 1 => {
                    page_size = page_size.min(left) / 4;
                    page_size = page_size.max(1);
                    continue;
                }
                Err(TooLarge::Page) => return Err(self.nonsense()),
                Err(TooLarge::Other(error)) => return Err(error),
            };
            page_size = next_page(page.records.len(), bytes);
            at = at.or(Some(page.revision));
            let (last, more) = (page.records.last().map(|record| record.key.clone()), page.more);
            let whole = match &mut whole {
                None => whole.insert(page),
                Some(whole) => {
                    whole.records.extend(page.records);
                    whole.more = more;
                    whole
                }
            };
            let full = options.limit.is_some_and(|limit| whole.records.len() >= limit);
            match last.filter(|_| more && !full) {
                Some(last) => match Span::of(&range.after(&last)) {
                    Some(rest) => span = rest,
                    None => return Ok(std::mem::take(whole)),
                },
                None => return Ok(std::mem::take(whole)),
            }
        }
    }

    /// One page, and how many bytes it had.
    async fn page(
        &self,
        message: proto::RangeRequest,
        options: &RangeOptions,
    ) -> std::result::Result<(Page, usize), TooLarge> {
        let at = revision(message.revision);
        let answer: Answer<proto::RangeResponse> =
            self.ask(path::RANGE, message, MAX_MESSAGE).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(failure) if failure.kind == Kind::AnswerTooLarge => return Err(TooLarge::Page),
            Err(failure) => {
                return Err(TooLarge::Other(self.explain(failure, About::at(at)).await));
            }
        };
        let bytes = prost::Message::encoded_len(&answer);
        let now = revision(answer.header.unwrap_or_default().revision);
        let page = Page {
            revision: if at.0 > 0 { at } else { now },
            more: answer.more && !options.count_only,
            count: u64::try_from(answer.count).unwrap_or(0),
            records: answer.kvs.into_iter().map(record).collect(),
        };
        Ok((page, bytes))
    }

    /// The page of a range that can hold no key: it still has a revision, which has to exist.
    async fn range_of_nothing(&self, options: &RangeOptions) -> Result<Page> {
        let at = options.at.unwrap_or_default();
        let (page, _) = self.page(probe(at), &RangeOptions::default()).await?;
        Ok(Page { revision: page.revision, ..Page::default() })
    }

    /// The compacted revision: the least one that can be read, found by halving, because etcd
    /// tells it to nobody who does not watch. Zero if nothing was ever compacted.
    pub(super) async fn find_compacted(&self) -> Result<Revision> {
        use std::sync::atomic::Ordering;
        let known = self.compacted.load(Ordering::Relaxed);
        if self.readable(Revision(known.max(1))).await? {
            return Ok(Revision(known));
        }
        let (mut gone, mut kept) = (known.max(1), self.revision().await?.0);
        while gone + 1 < kept {
            let middle = gone + (kept - gone) / 2;
            match self.readable(Revision(middle)).await? {
                true => kept = middle,
                false => gone = middle,
            }
        }
        self.compacted.fetch_max(kept, Ordering::Relaxed);
        Ok(Revision(kept))
    }

    async fn readable(&self, at: Revision) -> Result<bool> {
        use super::failure::Refusal;
        let message = proto::RangeRequest { revision: signed(at), ..probe(at) };
        let answer: Answer<proto::RangeResponse> =
            self.ask(path::RANGE, message, MAX_SMALL_ANSWER).await;
        match answer {
            Ok(_) => Ok(true),
            Err(failure) if failure.kind == Kind::Refused(Refusal::Compacted) => Ok(false),
            Err(failure) => Err(failure.error.into()),
        }
    }
}

/// Why there is no page.
enum TooLarge {
    /// It is larger than a message.
    Page,
    Other(crate::Error),
}

impl From<TooLarge> for crate::Error {
    fn from(why: TooLarge) -> Self {
        match why {
            TooLarge::Other(error) => error,
            TooLarge::Page => {
                Self::TooLarge { what: "answer", size: MAX_MESSAGE + 1, limit: MAX_MESSAGE }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_grow_and_shrink_to_the_bytes_they_should_have() {
        assert_eq!(next_page(500, 500 * 1024), 2048);
        assert_eq!(next_page(500, 500 * 64), MAX_PAGE);
        assert_eq!(next_page(2, 3 << 20), 1);
        assert_eq!(next_page(0, 0), MAX_PAGE);
    }
}
