// Part of every component. Each report to Python has a stamp `at`, which increases with each report.

let lastStamp = 0;

function stamp() {
  lastStamp = Math.max(lastStamp + 1, Date.now());
  return lastStamp;
}
