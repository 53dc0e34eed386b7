//! The page in headless Chromium.

use ooblex_tests::browser::{Browser, installed};
use ooblex_tests::{skip, wait_for};

#[test]
fn harness_check() {
    let Some(programs) = installed() else { skip!("no chromium") };
    let t = std::time::Instant::now();
    let browser = Browser::start(programs, None);
    println!("start {:?}", t.elapsed());
    browser.open("http://127.0.0.1:9911/");
    let first = wait_for("a mark", || browser.mark("#live"));
    let later = wait_for("a later mark", || browser.mark("#live").filter(|m| m.0.counter > first.0.counter));
    println!("{:?}", t.elapsed());
    println!("{first:?} {later:?}");
    browser.resize(390, 844, true);
    println!("{:?}", browser.run("return [innerWidth, document.documentElement.scrollWidth]"));
    println!("{:?}", t.elapsed());
    browser.screenshot("harness");
    println!("{:?}", t.elapsed());
    println!("{:?}", browser.complaints());
}
