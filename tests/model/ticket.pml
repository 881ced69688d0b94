/*
 * Tickets (actors/send_protocol, actors/receive_protocol, actors/tickets): the owner grants a block to whoever
 * holds the ticket, the engine carries the ticket to a reader, and the reader reads without asking first.
 *
 * It stands apart from lease.pml, for here two leases on one block may be granted at once, that of the ticket
 * and that which asking brings, and the reader may have a job for each. What lease.pml shows of one lease (the
 * orders of validation, revocation and fill, early release) is not shown again, and the words are the same.
 *
 * The owner fills the block for REQUESTS requests one after the other, in the same lease slots, and its engine may
 * want a ticket of each. The first of them is received USES times, with one ticket, each time in up to ATTEMPTS
 * attempts: the first attempt reads by the ticket, if there was one, and falls back on asking. The reader takes
 * the ticket, and uses it, when it likes, so that it may be of a session, a request or a life that has ended.
 *
 *   -DUCX      as in lease.pml
 *   -DLIVES=2  a killed owner may come back as another life, with other memory and a new lease table
 *
 * What may go wrong at any moment: MISHAPS messages are lost and as many come late or twice, a deadline passes or an engine
 * cancels, CRASHES sessions of the owner crash and start again, the reader's crash, either process is killed.
 * A reader that is killed and comes back is one whose next reception finds nobody told of the last one's end.
 *
 * What is claimed: I1 to I4 of lease.pml, and
 *   I5  an owner that completes a request knows that the newest call for it has the block
 *
 * Mutations, each of which must be found (tests/model/run):
 *   -DTICKET_OUTLIVES   the end of a request leaves its ticket granted (no send_protocol::revoke_ticket)
 *   -DTICKET_FORGOTTEN  a lease that asking brings takes the place of the ticket's, which nobody revokes any more
 *   -DTICKET_UNFILLED   the ticket is made before the work that fills the block is done
 *   -DREAD_BOTH         what asking brings is read while the ticket's job still runs
 *   -DANY_RECEIPT       a receipt counts whatever call it answers
 *   -DANY_LIFE          (UCX, LIVES=2) a lease of another life counts if slot and epoch are right
 */

#ifndef REQUESTS
#define REQUESTS 2
#endif
#ifndef USES
#define USES 1
#endif
#ifndef ATTEMPTS
#define ATTEMPTS 1
#endif
#ifndef MISHAPS
#define MISHAPS 1
#endif
#ifndef CRASHES
#define CRASHES 0 /* of the owner's sessions, in a run */
#endif
#ifndef LIVES
#define LIVES 1
#endif
#define LINE 2 /* messages under way in one direction; more are lost */
#define ENGINE 99

/* A lease (owner, slot, epoch) and a pull id are one byte each. */
#define right_of(life, slot, epoch) ((life) * 64 + (slot) * 32 + (epoch))
#define life_of(right) ((right) / 64)
#define slot_of(right) (((right) / 32) % 2)
#define epoch_of(right) ((right) % 32)

mtype = { pull_request, slice_grant, slice_done, slice_failed, cancel_notice };
mtype:ending = { none, complete, failed };
mtype:job = { idle, asked, running, valid, invalid };

/* Messages: kind, pull id, lease: in a call that of the ticket it reads by, or 0. slice_failed is of a ticket. */
chan to_owner = [LINE] of { mtype, byte, byte };
chan to_reader = [LINE] of { mtype, byte, byte };
byte losses, repetitions, crashes;
mtype late_kind;
byte late_pull, late_right;

byte source[2 * LIVES];
byte word[2 * LIVES];     /* two lease slots of each life */
byte destination[2];
byte made;                /* the ticket of the first request, with the engine */
bool over;                /* the reader wants it no more */
byte life;                /* of the owner */
bool filled, producing;

mtype:ending owner_end = none, reader_end = none;
bool owner_dead, reader_dead, owner_done, reader_done;
byte brought; /* the last pull that brought the block */

/* The reader's jobs: by the ticket, and by what asking brought. */
#define BY_TICKET 0
#define BY_ASKING 1
mtype:job job[2] = idle;
byte job_right[2];
byte peer;        /* the life that the reader's attempt speaks to, and whose memory it maps */
bool aborted;

#ifdef UCX
bool gathering;
/* Of each job. A chunk of an ended job may be taken for one of the next: it is as good if the lease is the same. */
chan lane_pull[2] = [1] of { byte };              /* lease */
chan lane_chunk[2] = [1] of { byte, byte, byte }; /* lease, and both parts */
#endif

#ifdef ANY_LIFE
#define right_life(right, its) true
#else
#define right_life(right, its) (life_of(right) == its)
#endif

/* lease_table::granted, lease_view::granted */
#define granted(right, its) (right_life(right, its) && word[2 * (its) + slot_of(right)] == epoch_of(right))

#define to_peer_lost (owner_dead || peer != life)
#define reader_gone (reader_dead || over)

inline transmit(line, gone, kind, pull, right) {
  if
  :: gone || full(line) -> skip
  :: else ->
     if
     :: losses < MISHAPS -> losses++
     :: line!kind, pull, right
     fi
  fi
}

/* To the owner; one that is late, or comes once more, does so when it likes. */
inline tell_owner(kind, pull, right) {
  transmit(to_owner, to_peer_lost, kind, pull, right);
  if
  :: !to_peer_lost && repetitions < MISHAPS ->
     repetitions++;
     late_kind = kind;
     late_pull = pull;
     late_right = right
  :: true
  fi
}

proctype straggler() {
end:
  do
  :: atomic { late_kind != 0 && nfull(to_owner) ->
     if
     :: to_peer_lost || owner_done -> skip
     :: else -> to_owner!late_kind, late_pull, late_right
     fi;
     late_kind = 0;
     late_pull = 0;
     late_right = 0 }
  od
}

inline grant(right) {
  if
  :: word[2 * life] % 2 == 0 ->
     word[2 * life]++;
     right = right_of(life, 0, word[2 * life])
  :: else ->
     assert(word[2 * life + 1] % 2 == 0);
     word[2 * life + 1]++;
     right = right_of(life, 1, word[2 * life + 1])
  fi
}

inline revoke(right) {
  if
  :: right != 0 && word[2 * life + slot_of(right)] == epoch_of(right) -> word[2 * life + slot_of(right)]++
  :: else -> skip
  fi;
  right = 0
}

/* send_protocol::revoke_ticket, and what data_plane::retire takes back of a session. */
inline revoke_ticket() {
#ifdef TICKET_OUTLIVES
  ticket = 0
#else
  revoke(ticket)
#endif
}

/* data_plane::retire: our own gather that was launched has ended. */
inline await_gathers() {
#ifdef UCX
  !gathering
#else
  skip
#endif
}

#ifdef TICKET_UNFILLED
#define may_make true
#else
#define may_make filled
#endif

#ifdef ANY_RECEIPT
#define answers(p) true
#else
#define answers(p) (p == pull)
#endif

proctype producer(byte request, its) {
  atomic { if :: owner_dead || its != life -> goto killed :: else -> source[2 * its] = request fi }
  atomic {
    if
    :: owner_dead || its != life -> skip
    :: else ->
       source[2 * its + 1] = request;
       filled = true
    fi;
killed:
    if
    :: its == life -> producing = false
    :: else -> skip
    fi
  }
}

inline owner_ends(how) {
  assert(owner_end == none);                       /* I4 */
  assert(how != complete || brought >= pull);      /* I5 */
  owner_end = how;
  revoke(right);
  revoke_ticket()
}

/* send_protocol and the supervisor of the context rank. */
proctype owner() {
  byte request = 1, pull, p, t;
  byte right, ticket;     /* granted for the call, and to whoever holds the ticket */
  bool by_ticket;         /* the caller reads by the present ticket, and is granted nothing */
  bool called_with;       /* the call named a ticket, though it may be an older one */
again:
  do
  :: request <= REQUESTS ->
     atomic {
       if
       :: owner_dead -> goto dead
       :: !owner_dead && !producing -> skip
       fi;
       producing = true;
       filled = false;
       owner_end = none;
       pull = 0;
       by_ticket = false;
       called_with = false;
       run producer(request, life)
     }
     do
     :: owner_dead -> goto dead
     :: atomic { !owner_dead && nempty(to_owner) ->
        if
        :: to_owner?pull_request, p, t ->
           if
           :: request == 1 && p > pull ->
              revoke(right);
              pull = p;
              called_with = t != 0;
              by_ticket = t != 0 && t == ticket
           :: request > 1 -> transmit(to_reader, reader_gone, cancel_notice, p, 0)
           :: else -> skip
           fi
        :: to_owner?slice_done, p, t ->
           if
           :: answers(p) && (right != 0 || called_with) -> owner_ends(complete)
           :: else -> skip
           fi
        :: to_owner?slice_failed, p, t ->
           if
           :: p == pull -> by_ticket = false
           :: else -> skip
           fi
        :: to_owner?cancel_notice, p, t ->
           if
           :: p == pull -> owner_ends(failed)
           :: else -> skip
           fi
        fi;
        p = 0;
        t = 0;
        if
        :: owner_end != none -> break
        :: else -> skip
        fi }
     /* send_protocol::make_ticket_if_wanted */
     :: atomic { !owner_dead && ticket == 0 && may_make && !over ->
        grant(ticket);
        if
        :: request == 1 && made == 0 -> made = ticket
        :: else -> skip
        fi }
     :: atomic { !owner_dead && pull != 0 && right == 0 && !by_ticket && filled ->
        grant(right);
        transmit(to_reader, reader_gone, slice_grant, pull, right);
#ifdef TICKET_FORGOTTEN
        ticket = 0
#endif
        }
     /* The session crashes; another is started for the same calls. It has no ticket. */
     :: atomic { !owner_dead && crashes < CRASHES && (right != 0 || ticket != 0) ->
        crashes++;
        revoke(right);
        revoke_ticket();
        by_ticket = false }
        await_gathers()
     :: atomic { !owner_dead -> /* the deadline, or the engine cancels */
        owner_ends(failed);
        if
        :: pull != 0 -> transmit(to_reader, reader_gone, cancel_notice, pull, 0)
        :: else -> skip
        fi;
        break }
     od;
     await_gathers();
     request++
  :: else -> break
  od;
  if
  :: owner_dead -> goto dead
  :: !owner_dead && !producing -> skip
  fi;
  source[2 * life] = ENGINE;
  source[2 * life + 1] = ENGINE;
dead:
  atomic {
    /* Its peers find the connection broken. */
    do
    :: to_owner?_, _, _
    :: to_reader?_, _, _
#ifdef UCX
    :: lane_pull[0]?_
    :: lane_pull[1]?_
#endif
    :: else -> break
    od;
    pull = 0;
    right = 0;
    ticket = 0;
    by_ticket = false;
    called_with = false;
    if
    :: owner_dead && life + 1 < LIVES ->
       /* Another process of the same rank, which computes the request anew, or another. */
       life++;
       producing = false;
#ifdef UCX
       gathering = false;
#endif
       owner_dead = false;
       if
       :: request < REQUESTS -> request++
       :: true
       fi;
       goto again
    :: else -> owner_done = true
    fi
  }
}

#ifdef UCX
/* ucx_owner: gathers while the lease is granted, and sends what was stable. */
proctype owner_plane() {
  byte right, j, mine, part0, part1;
end:
  do
  :: atomic {
       if
       :: lane_pull[0]?right -> j = 0
       :: lane_pull[1]?right -> j = 1
       fi;
       mine = life;
       if
       :: !owner_dead && granted(right, mine) -> gathering = true
       :: else -> right = 0
       fi }
     if
     :: right != 0 ->
        part0 = source[2 * mine];
        part1 = source[2 * mine + 1];
        atomic {
          if
          :: !owner_dead && mine == life && granted(right, mine) && nfull(lane_chunk[j]) ->
             lane_chunk[j]!right, part0, part1
          :: else -> skip
          fi;
          if
          :: mine == life -> gathering = false
          :: else -> skip
          fi;
          part0 = 0;
          part1 = 0;
          right = 0;
          j = 0;
          mine = 0
        }
     :: else -> skip
     fi
  od
}
#endif

inline write(part, value) {
  d_step {
    if
    :: reader_dead || aborted -> skip
    :: else ->
       assert(reader_end == none); /* I2 */
       destination[part] = value
    fi
  }
}

/* The reader's copy threads, its kernel, or ucx_reader, for each job. */
proctype reader_plane(byte j) {
  bool good;
#ifdef UCX
  byte right, part0, part1;
#endif
end:
  do
#ifdef UCX
  :: atomic { job[j] == asked ->
     job[j] = running;
     /* The lane is lost with the life that it leads to. */
     if
     :: !to_peer_lost && nfull(lane_pull[j]) -> lane_pull[j]!job_right[j]
     :: else -> skip
     fi }
     do
     :: atomic { lane_chunk[j]?right, part0, part1 ->
        good = right == job_right[j] && !aborted;
        right = 0;
        if
        :: good -> break
        :: else -> skip
        fi }
     :: aborted -> break
     :: atomic { (to_peer_lost || !granted(job_right[j], peer)) && !gathering && empty(lane_chunk[j]) &&
                 empty(lane_pull[j]) -> break }
     od;
     atomic {
       if
       :: good -> write(0, part0); write(1, part1)
       :: else -> skip
       fi;
       part0 = 0;
       part1 = 0
#else
  :: atomic { job[j] == asked ->
     job[j] = running;
     write(0, source[2 * peer]) }
     write(1, source[2 * peer + 1]);
     atomic {
       good = granted(job_right[j], peer)
#endif
       ;
       if
       :: good && !aborted -> job[j] = valid
       :: else -> job[j] = invalid
       fi;
       good = false
     }
  od
}

inline begin(which, right) {
  assert(job[which] == idle);
  job_right[which] = right;
  job[which] = asked
}

#ifdef READ_BOTH
#define reads_ticket false
#else
#define reads_ticket (job[BY_TICKET] != idle)
#endif

/* A job ended well: its lease was looked at after its last read. */
inline delivered(which) {
  job[which] = idle;
  brought = pull;
  tell_owner(slice_done, pull, 0);
  verdict = complete
}

/* receive_protocol and the supervisor of the generation rank. */
proctype reader() {
  byte use, attempt, pull, held, p, right;
  byte waiting; /* the lease that asking brought while the ticket's job was under way */
  mtype:ending verdict = none;
  do
  :: use < USES ->
     do
     :: reader_dead -> goto dead
     :: atomic { !reader_dead && verdict == none && attempt < ATTEMPTS ->
        if
        :: held == 0 -> held = made
        :: else -> skip
        fi;
        attempt++;
        pull++;
        peer = life;
        aborted = false;
        if
        :: attempt == 1 && held != 0 && right_life(held, peer) ->
           tell_owner(pull_request, pull, held);
           begin(BY_TICKET, held)
        :: else -> tell_owner(pull_request, pull, 0)
        fi }
        do
        :: reader_dead -> goto dead
        :: atomic { !reader_dead && nempty(to_reader) ->
           if
           :: to_reader?slice_grant, p, right ->
              if
              :: p == pull && reads_ticket -> waiting = right
              :: p == pull && !reads_ticket && job[BY_ASKING] == idle -> begin(BY_ASKING, right)
              :: else -> skip
              fi
           :: to_reader?cancel_notice, p, _ ->
              if
              :: p == pull -> verdict = failed
              :: else -> skip
              fi
           fi;
           p = 0;
           right = 0;
           if
           :: verdict != none -> break
           :: else -> skip
           fi }
        :: atomic { !reader_dead && job[BY_TICKET] == valid -> delivered(BY_TICKET); break }
        :: atomic { !reader_dead && job[BY_ASKING] == valid -> delivered(BY_ASKING); break }
        /* receive_protocol::fall_back */
        :: atomic { !reader_dead && job[BY_TICKET] == invalid ->
           job[BY_TICKET] = idle;
           tell_owner(slice_failed, pull, 0);
           if
           :: waiting != 0 ->
              begin(BY_ASKING, waiting);
              waiting = 0
           :: else -> skip
           fi }
        :: atomic { !reader_dead && job[BY_ASKING] == invalid -> job[BY_ASKING] = idle; break }
        :: atomic { !reader_dead -> verdict = failed; break } /* the deadline, or the engine cancels */
        :: !reader_dead && attempt < ATTEMPTS -> break        /* the session crashes */
        od;
        /* data_plane::retire: neither a new attempt nor an end before the jobs of this one have ended. */
        atomic {
          aborted = true;
          waiting = 0
        }
        atomic {
          reader_dead || ((job[BY_TICKET] == idle || job[BY_TICKET] == valid || job[BY_TICKET] == invalid) &&
                          (job[BY_ASKING] == idle || job[BY_ASKING] == valid || job[BY_ASKING] == invalid));
          if
          :: reader_dead -> goto dead
          :: else -> skip
          fi;
          job[BY_TICKET] = idle;
          job[BY_ASKING] = idle;
          job_right[BY_TICKET] = 0;
          job_right[BY_ASKING] = 0
        }
     :: !reader_dead && (verdict != none || attempt == ATTEMPTS) -> break
     od;
     atomic {
       if
       :: verdict != complete ->
          verdict = failed;
          tell_owner(cancel_notice, pull, 0)
       :: else -> skip
       fi;
       assert(verdict != complete || (destination[0] == 1 && destination[1] == 1)); /* I1 */
       assert(reader_end == none);                                                  /* I4 */
       reader_end = verdict;
       /* The destination is the engine's, until it gives it to the next reception. */
       destination[0] = ENGINE;
       destination[1] = ENGINE
     }
     atomic {
       use++;
       if
       :: use < USES -> reader_end = none
       :: else -> skip
       fi;
       verdict = none;
       attempt = 0
     }
  :: else -> break
  od;
dead:
  atomic {
    over = true;
    made = 0;
    pull = 0;
    held = 0;
    waiting = 0;
    do
    :: to_reader?_, _, _
    :: else -> break
    od;
    reader_done = true
  }
}

/* Kills one process at any moment, or none. Its memory stays as it is. */
proctype killer() {
  if
  :: owner_dead = true
  :: reader_dead = true
  :: true
  fi
}

/* After all has ended. */
proctype judge() {
  owner_done && reader_done;
  assert(owner_dead || (word[2 * life] % 2 == 0 && word[2 * life + 1] % 2 == 0)); /* I3 */
  assert(owner_dead || owner_end != none);
  assert(reader_dead || reader_end != none)
}

init {
  atomic {
    destination[0] = ENGINE;
    destination[1] = ENGINE;
    run owner();
    run reader();
    run straggler();
    run reader_plane(BY_TICKET);
    run reader_plane(BY_ASKING);
#ifdef UCX
    run owner_plane();
#endif
    run killer();
    run judge()
  }
}
