package probe
import ("testing";"context";"time";"fmt";"strata/local/localtest"
 "github.com/go-mysql-org/go-mysql/replication"
 "github.com/go-mysql-org/go-mysql/mysql"
 "log/slog"; "io"
)
func TestProbe(t *testing.T){
 m:=localtest.Shared(t)
 dsn:=localtest.Schema(t,m)
 db:=localtest.DB(t,dsn)
 ex:=func(q string,a ...any){t.Helper();localtest.Exec(t,db,q,a...)}
 var pos string
 db.QueryRow("select @@gtid_binlog_pos").Scan(&pos)
 ex("create table x(id int primary key, u uuid, i6 inet6, i4 inet4, e enum('甲','b') character set gbk, c varchar(10) character set gbk)")
 ex("insert into x values(1,'123e4567-e89b-12d3-a456-426655440000','::ffff:1.2.3.4','1.2.3.4','甲','乙')")
 ex("insert into x values(2,'01890000-0000-7000-8000-000000000000','1:0:2:3:4:5:6:7','0.0.0.0','b','')")
 ex("insert into x values(3,'00000000-0000-0000-0000-000000000000','::1','0.0.0.0','b',''),(4,'123e4567-e89b-82d3-a456-426655440000','::','0.0.0.0','b','')")
 c,_:=db.Conn(context.Background())
 xe:=func(q string){t.Helper(); if _,e:=c.ExecContext(context.Background(),q);e!=nil{t.Log(q,e)}}
 for _,q:=range []string{"xa start 'a','b',7","insert into x(id) values(10)","xa end 'a','b',7","xa prepare 'a','b',7","xa commit 'a','b',7",
  "xa start 'r'","insert into x(id) values(11)","xa end 'r'","xa prepare 'r'","xa rollback 'r'",
  "xa start 'o'","insert into x(id) values(12)","xa end 'o'","xa commit 'o' one phase",
  "xa start 'e'","xa end 'e'","xa prepare 'e'","xa commit 'e'",
  "begin","insert into x(id) values(13)","savepoint s","insert into x(id) values(14)","rollback to s","commit",
  "create table y select * from x","truncate table y","rename table y to z","drop table z","set session binlog_format=statement","insert into x(id) values(20)","update x set c='q' where id=20","set session binlog_format=row","alter table x add column k int","create or replace table x (id int primary key)","drop table x"}{ xe(q)}
 cfg:=replication.BinlogSyncerConfig{ServerID:99,Flavor:"mariadb",Host:m.Host,Port:uint16(m.Port),User:m.User,Password:m.Password,Logger:slog.New(slog.NewTextHandler(io.Discard,nil)),HeartbeatPeriod:time.Second,VerifyChecksum:true,DisableRetrySync:true}
 s:=replication.NewBinlogSyncer(cfg)
 g,_:=mysql.ParseMariadbGTIDSet(pos)
 st,err:=s.StartSyncGTID(g); if err!=nil{t.Fatal(err)}
 for{
  ctx,cl:=context.WithTimeout(context.Background(),1500*time.Millisecond)
  e,err:=st.GetEvent(ctx);cl()
  if err!=nil{fmt.Println(err);break}
  switch v:=e.Event.(type){
  case *replication.MariadbGTIDEvent: fmt.Printf("GTID %s flags=%d %b\n",v.GTID.String(),v.Flags,v.Flags)
  case *replication.QueryEvent: fmt.Printf("  Q %s: %q\n",v.Schema,v.Query)
  case *replication.XIDEvent: fmt.Println("  XID")
  case *replication.TableMapEvent: fmt.Printf("  TM %s.%s %v types %v meta %x coll %v enumcoll %v enum %q\n",v.Schema,v.Table,v.ColumnNameString(),v.ColumnType,v.ColumnMeta,v.CollationMap(),v.EnumSetCollationMap(),v.EnumStrValueMap())
  case *replication.RowsEvent: for _,r:=range v.Rows{fmt.Printf("  R %q\n",r)}
  default: fmt.Printf("  %v %x\n",e.Header.EventType,e.RawData[19:])
  }
 }
}
