"""Runs a program in a terminal of its own: terminal.py ROWS COLUMNS STEPS PROGRAM ARGUMENT…

STEPS is JSON: a list of [text, keys]. Once the program has written the text, behind where the one before was, the keys are typed.
What it has written goes to stdout, and its status is the one of this script; after 20 seconds it is killed.
"""
import fcntl, json, os, pty, select, signal, struct, sys, termios, time

rows, columns, steps = int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
child, terminal = pty.fork()
if child == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    os.execvp(sys.argv[4], sys.argv[4:])
written, seen, until = b"", 0, time.monotonic() + 20
while True:
    if time.monotonic() > until:
        os.kill(child, signal.SIGKILL)
    if select.select([terminal], [], [], 0.1)[0]:
        try:
            part = os.read(terminal, 65536)
        except OSError:
            break
        if not part:
            break
        written += part
    while steps and (at := written.find(steps[0][0].encode(), seen)) >= 0:
        seen = at + len(steps[0][0].encode())
        os.write(terminal, steps.pop(0)[1].encode())
sys.stdout.buffer.write(written)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 255)
