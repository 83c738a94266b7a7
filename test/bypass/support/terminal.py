"""A terminal with a job-control shell in it, for one job: terminal.py ARGV… . What the job writes comes out on stdout; lines that
start with @ are ours. Orders on stdin: `key HEX` types, `fg` continues a stopped job, `size ROWS COLS` changes the window."""
import fcntl, os, pty, select, signal, struct, sys, termios

orders_r, orders_w = os.pipe()
says_r, says_w = os.pipe()
leader, master = pty.fork()

if leader == 0:
    os.close(orders_w), os.close(says_r)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)

    def say(text):
        os.write(says_w, ("@" + text + "\n").encode())

    modes = termios.tcgetattr(0)
    job = os.fork()
    if job == 0:
        os.setpgid(0, 0)
        os.tcsetpgrp(0, os.getpgrp())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        os.execvp(sys.argv[1], sys.argv[1:])
    say("job %d" % job)
    while True:
        _, status = os.waitpid(job, os.WUNTRACED)
        os.tcsetpgrp(0, os.getpgrp())
        if os.WIFSTOPPED(status):
            say("stopped")
            os.read(orders_r, 1)
            os.tcsetpgrp(0, job)
            os.killpg(job, signal.SIGCONT)
            continue
        say("modes same" if termios.tcgetattr(0) == modes else "modes changed")
        say("exited %d" % (os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)))
        os._exit(0)

os.close(orders_r), os.close(says_w)
for fd in range(3, 10):
    if fd not in (master, orders_w, says_r):
        try:
            os.close(fd)
        except OSError:
            pass
attributes = termios.tcgetattr(master)
attributes[3] &= ~termios.ECHO
termios.tcsetattr(master, termios.TCSANOW, attributes)
sources = [0, master, says_r]
pending = b""
while sources:
    for source in select.select(sources, [], [])[0]:
        try:
            data = os.read(source, 65536)
        except OSError:
            data = b""
        if data == b"":
            sources.remove(source)
            if source in (0, says_r):
                sys.exit(0)
            continue
        if source != 0:
            os.write(1, data)
            continue
        pending += data
        while b"\n" in pending:
            line, pending = pending.split(b"\n", 1)
            word = line.decode().split()
            if word[0] == "key":
                os.write(master, bytes.fromhex(word[1]))
            elif word[0] == "fg":
                os.write(orders_w, b"x")
            elif word[0] == "size":
                fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", int(word[1]), int(word[2]), 0, 0))
