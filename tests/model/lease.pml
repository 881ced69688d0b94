/*
 * The lease and session protocol of baton (transport/lease, transport/ucx, actors/): one block of a context
 * rank is handed to one generation rank, for REQUESTS requests one after the other, each in up to ATTEMPTS
 * attempts. The block, the lease slot and the destination are used anew at once.
 *
 *   -DUCX     the owner gathers into a staging buffer, the reader scatters out of it; without it the reader
 *             reads the owner's memory itself (mapped lane)
 *   -DEARLY_RELEASE  the block is one of several of a request, and the engine rewrites it once it is read; the
 *             reader's session may crash after that and forget what it has
 *
 * What may go wrong at any moment: a message is lost or comes twice, a side's deadline passes (or its engine
 * cancels), the reader's session crashes, either process is killed. A stopped process is one that takes no
 * step for as long as it likes.
 *
 * What is claimed (invariants of the design):
 *   I1  a completed request holds exactly what the owner wrote for it
 *   I2  nothing of a request is written into its destination after its end
 *   I3  a living side gets its blocks back whatever the other does: no deadlock, no lease left
 *   I4  each request ends exactly once on each living side
 *
 * Mutations, each of which must be found (tests/model/run):
 *   -DVALIDATE_EARLY    the reader looks at the lease before its last read
 *   -DREVOKE_LATE       the owner revokes after it has submitted work that rewrites the block
 *   -DGRANT_EARLY       a lease is granted before the work that fills the block is done
 *   -DREVOKE_BLINDLY    a revocation adds one whatever the word is: a second one grants anew
 *   -DEND_EARLY         the reader ends a request while its job still runs
 *   -DWAIT_FOR_RECEIPT  the owner waits for the reader's receipt without a deadline
 *   -DGATHER_FREELY     (UCX) a revocation does not wait for gather work, nor is the lease looked at after it
 *   -DGRANT_RELEASED    (EARLY_RELEASE) what was released is granted to a reader that asks again
 *
 * Tickets and offers, by which a reader reads without asking, are in ticket.pml and offer.pml.
 *
 * SPIN takes memory as sequentially consistent. Which fences make it so in the code is said in
 * transport/lease/lease_table.hpp and tried on real threads in tests/lease_test.cpp.
 */

#ifndef REQUESTS
#define REQUESTS 2
#endif
#ifndef ATTEMPTS
#define ATTEMPTS 2
#endif
#ifndef MISHAPS
#define MISHAPS 1 /* losses, and repetitions, in a run */
#endif
#define LINE 2    /* messages under way in one direction; more are lost */
#define ENGINE 99 /* what an engine writes into blocks that it got back */

mtype = { pull_request, slice_grant, slice_done, cancel_notice };
mtype:ending = { none, complete, failed };
mtype:job = { idle, asked, running, valid, invalid };

/* Messages: kind, request, pull id, lease epoch. */
chan to_owner = [LINE] of { mtype, byte, byte, byte };
chan to_reader = [LINE] of { mtype, byte, byte, byte };
byte losses, repetitions;

/* Memory. A block has two parts, so that it can be read in the middle of a change. */
byte source[2];
byte destination[2];
byte word;       /* the lease: odd = granted */
bool filled;     /* the GPU event of the current request's producer */
bool producing;  /* a producer is on the stream */

mtype:ending owner_end = none, reader_end = none; /* of the current request */
bool owner_dead, reader_dead, owner_done, reader_done;

/* The job of the reader's data plane. */
mtype:job job = idle;
byte job_epoch;
bool job_aborted;

#ifdef UCX
byte ring[2];                              /* the owner's staging buffer */
bool gathering;
chan lane_pull = [1] of { byte };          /* epoch */
chan lane_chunk = [1] of { byte, byte, byte }; /* epoch, and both parts */
#endif

inline transmit(line, gone, kind, request, pull, epoch) {
  if
  :: gone || full(line) -> skip
  :: else ->
     if
     :: losses < MISHAPS -> losses++
     :: repetitions < MISHAPS && len(line) < LINE - 1 ->
        repetitions++;
        line!kind, request, pull, epoch;
        line!kind, request, pull, epoch
     :: line!kind, request, pull, epoch
     fi
  fi
}

/* lease_table::revoke: a compare-exchange, so that a late one does nothing. */
inline revoke(epoch) {
#ifdef REVOKE_BLINDLY
  word++
#else
  if
  :: word == epoch -> word++
  :: else -> skip
  fi
#endif
}

inline revoke_if_granted() {
  if
  :: epoch != 0 -> revoke(epoch)
  :: else -> skip
  fi
}

#ifdef GRANT_EARLY
#define may_grant true
#else
#define may_grant filled
#endif

#ifdef WAIT_FOR_RECEIPT
#define may_give_up (epoch == 0)
#else
#define may_give_up true
#endif

#ifdef GRANT_RELEASED
#define kept true
#else
#define kept (!released)
#endif

/* The kernel that fills the block for a request. A killed process's kernels stop anywhere. */
proctype producer(byte request) {
  if :: owner_dead -> goto killed :: else -> source[0] = request fi;
  if :: owner_dead -> goto killed :: else -> source[1] = request fi;
  filled = true;
killed:
  producing = false
}

inline owner_ends(how) {
  assert(owner_end == none); /* I4 */
  owner_end = how
}

/* send_protocol and the supervisor of the context rank. `pull` 0: nobody asked; `epoch` 0: nothing granted. */
proctype owner() {
  byte request = 1, pull, epoch, r, p;
  bool released, rewriting;
  do
  :: request <= REQUESTS ->
     /* The engine uses the block for the next request. Kernels of one stream run one after the other. */
     atomic {
       if
       :: owner_dead -> goto dead
       :: !owner_dead && !producing -> skip
       fi;
       producing = true;
       filled = false;
       owner_end = none;
       run producer(request)
     }
#ifdef REVOKE_LATE
     revoke_if_granted();
#endif
     pull = 0;
     epoch = 0;
     released = false;
     rewriting = false;
     do
     :: owner_dead -> goto dead
#ifdef EARLY_RELEASE
     :: !owner_dead && rewriting ->
        source[0] = ENGINE;
        source[1] = ENGINE;
        rewriting = false
     /* All else of the request is read as well. */
     :: atomic { !owner_dead && released -> owner_ends(complete); break }
#endif
     :: atomic { !owner_dead && nempty(to_owner) ->
        if
        :: to_owner?pull_request, r, p, _ ->
           if
           :: r == request && p > pull ->
              /* A newer pull of the receiver replaces the older one and its lease. */
              revoke_if_granted();
              epoch = 0;
              pull = p;
              if
              :: kept -> skip
              :: else ->
                 owner_ends(failed);
                 transmit(to_reader, reader_dead, cancel_notice, request, pull, 0)
              fi
           :: r < request ->
              /* Its tombstone answers. */
              transmit(to_reader, reader_dead, cancel_notice, r, p, 0)
           :: else -> skip
           fi
        :: to_owner?slice_done, r, p, _ ->
           if
           :: r == request && p == pull && epoch != 0 ->
#ifdef EARLY_RELEASE
              revoke(epoch);
              epoch = 0;
              released = true;
              rewriting = true
#else
              owner_ends(complete)
#endif
           :: else -> skip
           fi
        :: to_owner?cancel_notice, r, p, _ ->
           if
           :: r == request && p == pull -> owner_ends(failed)
           :: else -> skip
           fi
        fi;
        r = 0;
        p = 0;
        if
        :: owner_end != none -> break
        :: else -> skip
        fi }
     :: atomic { !owner_dead && pull != 0 && epoch == 0 && may_grant && kept ->
        assert(word % 2 == 0);
        word++;
        epoch = word;
        transmit(to_reader, reader_dead, slice_grant, request, pull, epoch) }
     :: atomic { !owner_dead && may_give_up ->
        /* The deadline, or the engine cancels. */
        owner_ends(failed);
        if
        :: pull != 0 -> transmit(to_reader, reader_dead, cancel_notice, request, pull, 0)
        :: else -> skip
        fi;
        break }
     od;
#ifndef REVOKE_LATE
     revoke_if_granted();
#ifdef REVOKE_BLINDLY
     /* The clean-up takes back what the receipt has taken back before. */
     revoke_if_granted();
#endif
#endif
#ifdef UCX
#ifndef GATHER_FREELY
     /* data_plane::retire: our own gather that was launched has ended. */
     !gathering;
#endif
#endif
     request++
  :: else -> break
  od;
  /* The last request's block goes back to the engine. */
  if
  :: owner_dead -> goto dead
  :: !owner_dead && !producing -> skip
  fi;
  source[0] = ENGINE;
  source[1] = ENGINE;
#ifdef REVOKE_LATE
  revoke_if_granted();
#endif
dead:
  owner_done = true
}

#ifdef UCX
#ifdef GATHER_FREELY
#define stable true
#else
#define stable (word == epoch)
#endif

/* ucx_owner: gathers while the lease is granted, and sends what was stable. */
proctype owner_plane() {
  byte epoch;
end:
  do
  :: atomic { lane_pull?epoch ->
     /* session_ledger::enter and the look at the lease: a retirement comes before or after both. */
     if
     :: !owner_dead && word == epoch -> gathering = true
     :: else -> epoch = 0
     fi }
     if
     :: epoch != 0 ->
        ring[0] = source[0];
        ring[1] = source[1];
        atomic {
          /* A chunk for which the reader has no room any more is of a dead pull. */
          if
          :: stable && nfull(lane_chunk) -> lane_chunk!epoch, ring[0], ring[1]
          :: else -> skip
          fi;
          gathering = false;
          ring[0] = 0;
          ring[1] = 0;
          epoch = 0
        }
     :: else -> skip
     fi
  od
}
#endif

/* A write into the destination. */
inline write(part, value) {
  atomic {
    if
    :: reader_dead || job_aborted -> skip
    :: else ->
       assert(reader_end == none); /* I2 */
       destination[part] = value
    fi
  }
}

/* The reader's copy threads, its kernel, or ucx_reader. */
proctype reader_plane() {
  byte part0, part1, epoch;
  bool good;
end:
  do
  :: job == asked ->
     job = running;
#ifdef UCX
     good = false;
     lane_pull!job_epoch;
     do
     :: atomic { lane_chunk?epoch, part0, part1 ->
        if
        :: epoch == job_epoch && !job_aborted -> good = true
        :: else -> skip /* of a dead pull */
        fi;
        epoch = 0 }
        if
        :: good -> write(0, part0); write(1, part1); break
        :: else -> skip
        fi
     :: job_aborted -> break
     /* The owner is lost, or says that it took the lease back. */
     :: atomic { (owner_dead || word != job_epoch) && !gathering && empty(lane_chunk) && empty(lane_pull) -> break }
     od;
     part0 = 0;
     part1 = 0;
#else
     write(0, source[0]);
#ifdef VALIDATE_EARLY
     good = (word == job_epoch);
#endif
     write(1, source[1]);
#ifndef VALIDATE_EARLY
     good = (word == job_epoch);
#endif
#endif
     atomic {
       if
       :: good && !job_aborted -> job = valid
       :: else -> job = invalid
       fi;
       good = false
     }
  od
}

/* receive_protocol and the supervisor of the generation rank. */
proctype reader() {
  byte request = 1, attempt, pull, r, p, e;
  mtype:ending verdict = none;
  do
  :: request <= REQUESTS ->
     attempt = 0;
     do
     :: reader_dead -> goto dead
     :: atomic { !reader_dead && verdict == none && attempt < ATTEMPTS ->
        attempt++;
        pull = request * (ATTEMPTS + 1) + attempt;
        transmit(to_owner, owner_dead, pull_request, request, pull, 0) }
        do
        :: reader_dead -> goto dead
        :: atomic { !reader_dead && nempty(to_reader) ->
           if
           :: to_reader?slice_grant, r, p, e ->
              if
              :: p == pull && job == idle ->
                 job_epoch = e;
                 job_aborted = false;
                 job = asked
              :: else -> skip
              fi
           :: to_reader?cancel_notice, r, p, _ ->
              if
              :: p == pull -> verdict = failed
              :: else -> skip
              fi
           fi;
           r = 0;
           p = 0;
           e = 0;
           if
           :: verdict != none -> break
           :: else -> skip
           fi }
        :: atomic { !reader_dead && job == valid ->
           job = idle;
           assert(destination[0] == request && destination[1] == request); /* I1 */
           transmit(to_owner, owner_dead, slice_done, request, pull, 0);
#ifdef EARLY_RELEASE
           if
           :: verdict = complete
           :: attempt < ATTEMPTS -> skip
           fi;
#else
           verdict = complete;
#endif
           break }
        /* lease_revoked: may be asked for again. */
        :: atomic { !reader_dead && job == invalid -> job = idle; break }
        /* The deadline, or the engine cancels. */
        :: atomic { !reader_dead -> verdict = failed; break }
        /* The session crashes. */
        :: !reader_dead && attempt < ATTEMPTS -> break
        od;
#ifndef END_EARLY
        /* data_plane::retire: neither a new attempt nor an end before the job of this one has ended. */
        if
        :: job == idle -> skip
        :: else ->
           job_aborted = true;
           if
           :: job == valid || job == invalid -> job = idle
           :: reader_dead -> goto dead
           fi
        fi
#endif
     :: !reader_dead && (verdict != none || attempt == ATTEMPTS) -> break
     od;
     atomic {
       if
       :: verdict != complete ->
          verdict = failed;
          transmit(to_owner, owner_dead, cancel_notice, request, pull, 0)
       :: else -> skip
       fi;
       assert(reader_end == none); /* I4 */
       reader_end = verdict
     }
     /* The destination is the engine's, until it gives it to the next request. */
     destination[0] = ENGINE;
     destination[1] = ENGINE;
     atomic {
       if
       :: request < REQUESTS -> reader_end = none
       :: else -> skip
       fi;
       verdict = none;
       pull = 0;
       request++
     }
  :: else -> break
  od;
dead:
  reader_done = true
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
  assert(owner_dead || (word % 2 == 0 && owner_end != none)); /* I3 */
  assert(reader_dead || reader_end != none)
}

init {
  atomic {
    destination[0] = ENGINE;
    destination[1] = ENGINE;
    run owner();
    run reader();
    run reader_plane();
#ifdef UCX
    run owner_plane();
#endif
    run killer();
    run judge()
  }
}
