/** Program that says who its parent is whenever that changes, and waits until it is killed. */

let known = 0;

function look(): void {
  if (process.ppid === known) return;
  known = process.ppid;
  process.stdout.write(`${process.pid} ${known}\n`);
}

look();
setInterval(look, 1);
// Nobody may have killed it.
setTimeout(() => process.exit(1), 60_000);
