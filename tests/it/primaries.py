"""Two MariaDB servers, one a replica of the other, for tests.

    pair = Pair(t)                     # GTID, semi-synchronous, AFTER_SYNC
    fleet = pair.fleet(hosts=2)        # gateways that know both: mysql.hosts
    pair.primary.kill()
    new = pair.promote()               # as an operator's script does it
"""

import shutil

import stores
from harness import wait_until
from sentinels import free_port
from stores import Fleet

REPLICATION = "replication"


class Server(stores.MariaDB):
    """One of them, also on a loopback port. lines: more of its options."""

    def __init__(self, t, number, lines=()):
        self.number, self.port, self.lines = number, free_port(), list(lines)
        self.is_replica = number > 0
        super().__init__(t)

    def network(self):
        return ["--bind-address=127.0.0.1", "--port=%d" % self.port,
                "--server-id=%d" % (self.number + 1), "--log-bin=binlog",
                "--log-slave-updates", "--binlog-format=ROW",
                "--skip-slave-start", "--relay-log=relay",
                "--innodb-log-file-size=16M",
                "--rpl-semi-sync-master-enabled=ON",
                "--rpl-semi-sync-slave-enabled=ON",
                "--rpl-semi-sync-master-wait-point=AFTER_SYNC",
                "--rpl-semi-sync-master-timeout=500",
                "--read-only=%d" % self.is_replica] + self.lines

    @property
    def address(self):
        return "127.0.0.1:%d" % self.port

    def value(self, name):
        """Of a status variable."""
        return self.sql("SHOW STATUS LIKE '%s'" % name).split("\t")[-1]

    def follow(self, primary):
        self.sql("STOP SLAVE; CHANGE MASTER TO MASTER_HOST='127.0.0.1', "
                 "MASTER_PORT=%d, MASTER_USER='%s', MASTER_PASSWORD='one', "
                 "MASTER_CONNECT_RETRY=1, MASTER_USE_GTID=slave_pos; "
                 "SET GLOBAL read_only=1; START SLAVE" % (
                     primary.port, REPLICATION))
        wait_until(lambda: primary.value("Rpl_semi_sync_master_clients") !=
                   "0", "the replica follows", 30)

    def position(self):
        return self.sql("SELECT @@gtid_binlog_pos")

    def caught_up(self, position):
        return self.sql("SELECT MASTER_GTID_WAIT('%s', 10)" % position) == "0"


class Pair:
    def __init__(self, t, lines=()):
        self.t = t
        self.servers = [Server(t, number, lines) for number in (0, 1)]
        self.primary, self.replica = self.servers
        self.primary.sql(
            "CREATE USER '%s'@'127.0.0.1' IDENTIFIED BY 'one'; GRANT "
            "REPLICATION SLAVE ON *.* TO '%s'@'127.0.0.1'" % (
                REPLICATION, REPLICATION))
        # Its own accounts are none of the primary's events.
        self.replica.sql("RESET MASTER")
        self.replica.follow(self.primary)

    def fleet(self, start=True, more_hosts=(), **options):
        """The replica is named first, as it may be."""
        fleet = Fleet(self.t, server=self.primary, is_direct=True,
                      start=False, **options)
        text = stores.schema("mysql-accounts.sql").replace(
            "localhost", "127.0.0.1")
        fleet.db.sql(text)
        fleet.db.sql("ALTER USER 'sessgate'@'127.0.0.1' IDENTIFIED BY 'one' "
                     "ACCOUNT UNLOCK")
        for host in fleet.hosts:
            del host.gw.conf["mysql"]["socket"]
            host.gw.configure({"mysql": {"hosts": list(more_hosts) + [
                self.replica.address, self.primary.address]}})
        self.wait_same()
        if start:
            fleet.start()
        return fleet

    def wait_same(self):
        wait_until(lambda: self.replica.caught_up(self.primary.position()),
                   "the replica has everything")

    def promote(self, is_planned=False):
        """The replica applies what it was told, and takes writes."""
        old, new = self.primary, self.replica
        if is_planned:
            old.sql("SET GLOBAL read_only=1")
            self.wait_same()
        else:
            new.sql("STOP SLAVE IO_THREAD")
            wait_until(lambda: "has read all relay log" in new.sql(
                "SHOW PROCESSLIST"), "the relay log is applied")
        new.sql("STOP SLAVE; RESET SLAVE ALL; SET GLOBAL read_only=0")
        new.is_replica = False
        self.primary, self.replica = new, old
        return new

    def rebuild(self):
        """The one that is not the primary any more, from its data."""
        old = self.replica
        if old.process.poll() is None:
            old.kill()
        shutil.rmtree(old.data)
        old.install()
        old.is_replica = True
        old.number += 2  # What it wrote before, it would not take for news.
        old.start()
        old.sql("RESET MASTER")
        old.follow(self.primary)
        self.wait_same()
