"""Listens at a datagram socket of Unix, like a service manager, and prints each datagram as a line of JSON: notify-socket.py PATH

Those by which a sender waits until it was heard are left out: they are answered by their descriptor being closed.
"""
import json, socket, sys

listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.bind(sys.argv[1])
print("listening", flush=True)
while True:
    told = listener.recv(65536).decode()
    if told != "BARRIER=1":
        print(json.dumps(told), flush=True)
