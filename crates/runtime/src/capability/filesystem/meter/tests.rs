//! The books by themselves; with a directory beside them, `volume` tries them.

use super::*;

#[test]
fn what_is_charged_keeps_within_the_limit() {
    let mut books = Books::default();
    books.charge(60, 100).unwrap();
    assert_eq!(books.charge(41, 100), Err(Errno::DQUOT));
    books.charge(40, 100).unwrap();
    books.refund(10);
    books.charge(10, 100).unwrap();
    assert_eq!(books.used(), 100);
    // A limit that was lowered lets nothing grow, but nothing breaks.
    books.charge(0, 50).unwrap();
    assert_eq!(books.charge(u64::MAX, 50), Err(Errno::DQUOT));
}
