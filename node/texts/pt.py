"""The screen in Portuguese."""

from node.texts import Texts
from pairing.events import State

TEXTS = Texts(
    states={
        State.WAITING: "Fotografe esta tela e envie a foto",
        State.CLAIMED: "Foto recebida. Aguarde, por favor",
        State.APPROVED: "Máquina aceita. Aguarde, por favor",
        State.REFUSED: "Instalação recusada. Ligue para seu contato",
        State.PLANNED: "A instalação começa em breve",
        State.INSTALLING: "Instalação em andamento. Aguarde, por favor",
        State.WRITTEN: "Pronto. O disco está preparado",
        State.REBOOTING: "A máquina reinicia agora",
        State.INSTALLED: "Pronto. A máquina está instalada",
        State.JOINED: "Pronto. A máquina está conectada",
        State.READY: "Pronto. A máquina está preparada",
        State.LOCKED: "Máquina bloqueada. Ligue e leia o código",
        State.FAILED: "A instalação falhou. Ligue, leia o código",
    },
    keep_on="Não desligue a máquina",
    may_switch_off="Já pode desligar a máquina",
    abort="Não esperava? Desligue em até {seconds} segundos",
    step="Passo {number} de {steps}",
    steps={
        "check-image": "Verificando o novo sistema",
        "check-disk": "Verificando o disco",
        "escrow-key": "Entregando a chave de recuperação",
        "wipe-tables": "Limpando o disco",
        "write-disk": "Copiando o sistema para o disco",
        "bind-tang": "Preparando o desbloqueio automático",
        "prove-key": "Testando a chave de recuperação",
        "boot-entries": "Configurando a inicialização da máquina",
        "mark-complete": "Finalizando a instalação",
    },
    read_aloud="Leia este código em voz alta",
    compare="Compare estas palavras",
    rehearsal="Ensaio: o disco não é alterado",
    rehearsed="Ensaio concluído. Nada foi alterado",
    too_small="Esta tela é pequena para o código",
    machine="Máquina",
    operator="Operador",
    serial="N.º série",
    address="Endereço",
    no_address="ainda sem rede",
    relay="Relé",
    repair="Reparação remota por",
)
